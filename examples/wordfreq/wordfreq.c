// Prints the most frequent words of files (or of standard input), most frequent first.
//
//   wordfreq [-n COUNT] [FILE...]
//
// Built with: zig cc -target wasm32-wasi -O3 wordfreq.c -o wordfreq.wasm, then without its debug information.
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    char *word;
    unsigned long count;
};

static struct entry *table;
static size_t capacity, used;

static size_t hash(const char *s) {
    size_t h = 2166136261u;
    for (; *s; s++) h = (h ^ (unsigned char)*s) * 16777619u;
    return h;
}

static struct entry *find(struct entry *t, size_t cap, const char *word) {
    size_t i = hash(word) & (cap - 1);
    while (t[i].word && strcmp(t[i].word, word) != 0) i = (i + 1) & (cap - 1);
    return &t[i];
}

static void *check(void *p) {
    if (!p) {
        fputs("wordfreq: out of memory\n", stderr);
        exit(2);
    }
    return p;
}

static void grow(void) {
    size_t cap = capacity ? 2 * capacity : 1024;
    struct entry *t = check(calloc(cap, sizeof *t));
    for (size_t i = 0; i < capacity; i++)
        if (table[i].word) *find(t, cap, table[i].word) = table[i];
    free(table);
    table = t;
    capacity = cap;
}

static void add(const char *word) {
    if (2 * used >= capacity) grow();
    struct entry *e = find(table, capacity, word);
    if (!e->word) {
        e->word = check(strdup(word));
        used++;
    }
    e->count++;
}

static void count(FILE *in) {
    char word[64];
    size_t n = 0;
    int c;
    do {
        c = getc(in);
        if (c != EOF && isalpha(c)) {
            if (n < sizeof word - 1) word[n++] = (char)tolower(c);
        } else if (n) {
            word[n] = 0;
            add(word);
            n = 0;
        }
    } while (c != EOF);
}

static int by_count(const void *a, const void *b) {
    const struct entry *x = a, *y = b;
    if (x->count != y->count) return x->count < y->count ? 1 : -1;
    return strcmp(x->word, y->word);
}

int main(int argc, char **argv) {
    unsigned long top = 10;
    int first = 1, status = 0;
    if (argc > 2 && strcmp(argv[1], "-n") == 0) {
        top = strtoul(argv[2], NULL, 10);
        first = 3;
    }
    grow();
    if (first == argc) count(stdin);
    for (int i = first; i < argc; i++) {
        FILE *in = fopen(argv[i], "r");
        if (!in) {
            fprintf(stderr, "wordfreq: %s: %s\n", argv[i], strerror(errno));
            status = 1;
            continue;
        }
        count(in);
        fclose(in);
    }
    size_t n = 0;
    for (size_t i = 0; i < capacity; i++)
        if (table[i].word) table[n++] = table[i];
    qsort(table, n, sizeof *table, by_count);
    for (size_t i = 0; i < n && i < top; i++) printf("%7lu %s\n", table[i].count, table[i].word);
    return status;
}
