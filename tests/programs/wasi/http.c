/* An HTTP/1.0 file server: one thread, poll, sockets that do not block, the files of the working directory. It keeps a
   connection open if the client asks for it, and ends when a client asks for /quit. */
#include "server.h"
#include <sys/stat.h>

struct connection {
    size_t received;
    char request[4096];
    char head[256];
    size_t head_len, head_sent;
    int file;
    off_t left;
    size_t chunk_len, chunk_sent;
    int answering, keep;
    char chunk[16384];
};

static struct pollfd fds[MAX_CONNECTIONS + 1];
static struct connection *connections[MAX_CONNECTIONS + 1];

static void drop(int *count, int index)
{
    close(fds[index].fd);
    if (connections[index]->file >= 0)
        close(connections[index]->file);
    free(connections[index]);
    --*count;
    fds[index] = fds[*count];
    connections[index] = connections[*count];
}

static void answer(struct connection *c, const char *status, off_t len)
{
    c->head_len = (size_t)snprintf(c->head, sizeof c->head, "HTTP/1.0 %s\r\nContent-Length: %lld\r\nConnection: %s\r\n\r\n", status,
                                   (long long)len, c->keep ? "keep-alive" : "close");
    c->head_sent = 0;
    c->left = len;
    c->chunk_len = c->chunk_sent = 0;
    c->answering = 1;
}

/* Looks at a whole request; 1 if it asks the server to end. */
static int handle(struct connection *c)
{
    c->keep = strstr(c->request, "keep-alive") != NULL || strstr(c->request, "Keep-Alive") != NULL;
    char path[1024];
    c->file = -1;
    if (sscanf(c->request, "GET /%1023[^ ] HTTP/", path) != 1) {
        int root = strncmp(c->request, "GET / ", 6) == 0;
        if (!root) {
            answer(c, "400 Bad Request", 0);
            return 0;
        }
        strcpy(path, "index.html");
    }
    if (strcmp(path, "quit") == 0)
        return 1;
    struct stat st;
    c->file = open(path, O_RDONLY);
    if (c->file < 0 || fstat(c->file, &st) != 0 || !S_ISREG(st.st_mode)) {
        if (c->file >= 0)
            close(c->file);
        c->file = -1;
        answer(c, "404 Not Found", 0);
        return 0;
    }
    answer(c, "200 OK", st.st_size);
    return 0;
}

/* Goes on with the answer: 0 if the socket is full, 1 if all is sent, -1 if the connection is over. */
static int go_on(int fd, struct connection *c)
{
    while (c->head_sent < c->head_len) {
        ssize_t n = send(fd, c->head + c->head_sent, c->head_len - c->head_sent, 0);
        if (n < 0)
            return errno == EAGAIN ? 0 : -1;
        c->head_sent += (size_t)n;
    }
    for (;;) {
        while (c->chunk_sent < c->chunk_len) {
            ssize_t n = send(fd, c->chunk + c->chunk_sent, c->chunk_len - c->chunk_sent, 0);
            if (n < 0)
                return errno == EAGAIN ? 0 : -1;
            c->chunk_sent += (size_t)n;
        }
        if (c->left <= 0)
            break;
        ssize_t n = read(c->file, c->chunk, sizeof c->chunk);
        if (n <= 0)
            return -1;
        c->chunk_len = (size_t)n;
        c->chunk_sent = 0;
        c->left -= n;
    }
    if (c->file >= 0)
        close(c->file);
    c->file = -1;
    c->answering = 0;
    c->received = 0;
    return c->keep ? 1 : -1;
}

int main(int argc, char **argv)
{
    int listener = listening_socket(argc, argv);
    if (listener < 0) {
        perror("no socket to listen on");
        return 1;
    }
    set_nonblocking(listener);
    int count = 1;
    fds[0].fd = listener;
    for (;;) {
        fds[0].events = count <= MAX_CONNECTIONS ? POLLIN : 0;
        for (int i = 1; i < count; i++)
            fds[i].events = connections[i]->answering ? POLLOUT : POLLIN;
        if (poll(fds, (nfds_t)count, -1) < 0) {
            perror("poll");
            return 1;
        }
        for (int i = count - 1; i > 0; i--) {
            if (!fds[i].revents)
                continue;
            struct connection *c = connections[i];
            if (!c->answering) {
                ssize_t n = recv(fds[i].fd, c->request + c->received, sizeof c->request - 1 - c->received, 0);
                if (n < 0 && errno == EAGAIN)
                    continue;
                if (n <= 0) {
                    drop(&count, i);
                    continue;
                }
                c->received += (size_t)n;
                c->request[c->received] = 0;
                if (!strstr(c->request, "\r\n\r\n")) {
                    if (c->received == sizeof c->request - 1)
                        drop(&count, i);
                    continue;
                }
                if (handle(c))
                    return 0;
            }
            if (go_on(fds[i].fd, c) < 0)
                drop(&count, i);
        }
        if (fds[0].revents) {
            while (count <= MAX_CONNECTIONS) {
                int fd = accept(listener, NULL, NULL);
                if (fd < 0)
                    break;
                set_nonblocking(fd);
                fds[count] = (struct pollfd){.fd = fd};
                struct connection *c = calloc(1, sizeof *c);
                if (!c)
                    return 1;
                c->file = -1;
                connections[count++] = c;
            }
        }
    }
}
