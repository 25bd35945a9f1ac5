/* Sixty operations on files, each with its result and the name of its error: natively and as WebAssembly they print the same
   and leave the same tree. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int number;

static const char *name_of(int error)
{
    switch (error) {
#define NAME(e) case e: return #e
        NAME(EACCES); NAME(EBADF); NAME(EEXIST); NAME(EINVAL); NAME(EISDIR); NAME(ELOOP); NAME(ENAMETOOLONG); NAME(ENOENT);
        NAME(ENOTDIR); NAME(ENOTEMPTY); NAME(EPERM); NAME(ESPIPE); NAME(EBUSY); NAME(EXDEV); NAME(EFBIG); NAME(ENOTSUP);
#undef NAME
    default:
        return "other";
    }
}

static long long show(const char *what, long long result)
{
    int error = errno;
    if (result < 0)
        printf("%2d %s: %s\n", ++number, what, name_of(error));
    else
        printf("%2d %s: %lld\n", ++number, what, result);
    return result;
}

/* What is not the number of a descriptor, which differ. */
static int opened(const char *what, int fd)
{
    int error = errno;
    if (fd < 0)
        printf("%2d %s: %s\n", ++number, what, name_of(error));
    else
        printf("%2d %s: open\n", ++number, what);
    return fd;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list(const char *what, const char *path)
{
    DIR *dir = opendir(path);
    if (!dir) {
        show(what, -1);
        return;
    }
    char *names[64];
    size_t count = 0;
    struct dirent *entry;
    while ((entry = readdir(dir)) && count < 64)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            names[count++] = strdup(entry->d_name);
    closedir(dir);
    qsort(names, count, sizeof *names, compare);
    printf("%2d %s:", ++number, what);
    for (size_t i = 0; i < count; i++)
        printf(" %s", names[i]);
    printf("\n");
}

int main(void)
{
    char buffer[256];
    struct stat st;
    char long_name[400];
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;

    show("mkdir a", mkdir("a", 0777));
    show("mkdir a again", mkdir("a", 0777));
    show("mkdir in nothing", mkdir("none/b", 0777));
    show("mkdir a/b", mkdir("a/b", 0777));
    int fd = opened("create a/file", open("a/file", O_RDWR | O_CREAT, 0666));
    show("write", write(fd, "0123456789", 10));
    opened("create it exclusively", open("a/file", O_RDWR | O_CREAT | O_EXCL, 0666));
    show("seek to 3", lseek(fd, 3, SEEK_SET));
    show("read 4", read(fd, buffer, 4));
    show("that is 3456", memcmp(buffer, "3456", 4) == 0);
    show("where", lseek(fd, 0, SEEK_CUR));
    show("seek before the start", lseek(fd, -1, SEEK_SET));
    show("seek past the end", lseek(fd, 5, SEEK_END));
    show("write there", write(fd, "end", 3));
    show("pread across the hole", pread(fd, buffer, 10, 8));
    show("it is zeros", memcmp(buffer, "89\0\0\0\0\0end", 10) == 0);
    show("pwrite", pwrite(fd, "AB", 2, 1));
    struct iovec parts[2] = {{buffer, 3}, {buffer + 100, 5}};
    show("seek to 0", lseek(fd, 0, SEEK_SET));
    show("readv", readv(fd, parts, 2));
    show("its parts", memcmp(buffer, "0AB", 3) == 0 && memcmp(buffer + 100, "34567", 5) == 0);
    show("size", fstat(fd, &st) ? -1 : (long long)st.st_size);
    show("truncate to 6", ftruncate(fd, 6));
    show("truncate to less than nothing", ftruncate(fd, -1));
    show("size", fstat(fd, &st) ? -1 : (long long)st.st_size);
    struct timespec times[2] = {{1000000000, 123456789}, {1500000000, 987654321}};
    show("set times", futimens(fd, times));
    show("time of change", fstat(fd, &st) ? -1 : (long long)st.st_mtim.tv_sec);
    show("its nanoseconds", (long long)st.st_mtim.tv_nsec);
    show("sync", fsync(fd));
    show("close", close(fd));
    show("close again", close(fd));
    show("read what is closed", read(fd, buffer, 1));
    opened("open a directory to write", open("a", O_WRONLY));
    opened("open nothing", open("a/none", O_RDONLY));
    opened("open a file as a directory", open("a/file/x", O_RDONLY));
    opened("open with a long name", open(long_name, O_RDONLY | O_CREAT, 0666));
    fd = opened("append to a/file", open("a/file", O_WRONLY | O_APPEND));
    show("write at the end", write(fd, "+tail", 5));
    show("read what is only written", read(fd, buffer, 1));
    close(fd);
    show("link a/file as a/hard", link("a/file", "a/hard"));
    show("links", stat("a/hard", &st) ? -1 : (long long)st.st_nlink);
    show("link a directory", link("a", "dirlink"));
    show("symlink a/soft", symlink("file", "a/soft"));
    show("readlink", readlink("a/soft", buffer, sizeof buffer));
    show("readlink of a file", readlink("a/file", buffer, sizeof buffer));
    show("lstat says link", lstat("a/soft", &st) ? -1 : S_ISLNK(st.st_mode));
    show("stat says file", stat("a/soft", &st) ? -1 : S_ISREG(st.st_mode));
    opened("open a link without following", open("a/soft", O_RDONLY | O_NOFOLLOW));
    show("symlink to itself", symlink("loop", "a/loop"));
    opened("open it", open("a/loop", O_RDONLY));
    show("rename a file over another", rename("a/hard", "a/soft"));
    show("rename a directory over a file", rename("a/b", "a/file"));
    show("rename a file over a directory", rename("a/file", "a/b"));
    show("rename nothing", rename("a/none", "a/other"));
    show("rename a directory", rename("a/b", "a/c"));
    show("remove a full directory", rmdir("a"));
    show("remove a file as a directory", rmdir("a/file"));
    show("unlink nothing", unlink("a/none"));
    show("unlink the loop", unlink("a/loop"));
    list("list a", "a");
    list("list a file", "a/file");
    return number == 60 ? 0 : 1;
}
