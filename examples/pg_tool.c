/* pg_tool.c - a small psql: runs SQL, copies files in and out with a bar of progress, listens.
   cc -O2 -pthread examples/pg_tool.c -o pg_tool && ./pg_tool run "select 1"      (with TLS: -DCHOPIN_PG_OPENSSL -lssl -lcrypto)
   Try: ./pg_tool run "select g, g * g as square from generate_series(1, 3) g"      ./pg_tool run <script.sql
        ./pg_tool import people.csv "people (name, age)" csv                        ./pg_tool export "select * from people" people.csv csv
        ./pg_tool listen jobs                                                       ./pg_tool notify jobs "it's done"
   The server is DATABASE_URL, else the PG* variables. Formats: text (default), csv (with a header line), to import also binary. "-" is standard input or output. */
#define CHOPIN_PG_IMPLEMENTATION
#include "../chopin_pg.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int usage(void) {
    fputs("usage: pg_tool run [SQL]\n"
          "       pg_tool import FILE TABLE[(COLUMNS)] [text|csv|binary]\n"
          "       pg_tool export TABLE|QUERY FILE [text|csv]\n"
          "       pg_tool listen CHANNEL...\n"
          "       pg_tool notify CHANNEL [PAYLOAD]\n", stderr);
    return 2;
}
static int complain(const chopin_pg_error *e) {
    char text[4000];
    chopin_pg_error_text(e, text, sizeof text);
    fprintf(stderr, "%s\n", text);
    return 1;
}
static void notice(void *ctx, const chopin_pg_error *e) {
    (void)ctx;
    fprintf(stderr, "%.*s: %.*s\n", CHOPIN_FMT(e->severity), CHOPIN_FMT(e->message));
}

/* ---- run ---- */

static void print_head(chopin_pg_rows *r) {
    int columns = chopin_pg_columns(r);
    for (int i = 0; i < columns; i++) printf("%s%.*s", i ? "\t" : "", CHOPIN_FMT(chopin_pg_column_name(r, i)));
    if (columns > 0) putchar('\n');
}
static void print_row(chopin_pg_rows *r) {
    int columns = chopin_pg_columns(r);
    for (int i = 0; i < columns; i++) printf("%s%.*s", i ? "\t" : "", CHOPIN_FMT(chopin_pg_text_or(r, i, CHOPIN_STR("NULL"))));
    putchar('\n');
}
/* All of standard input, with a NUL behind it. The caller frees it. */
static char *read_all(void) {
    size_t len = 0, cap = 1 << 16;
    char  *text = malloc(cap);
    for (size_t n; text && (n = fread(text + len, 1, cap - len - 1, stdin)) > 0; ) {
        len += n;
        if (cap - len < 2) {
            char *more = realloc(text, cap *= 2);
            if (!more) free(text);
            text = more;
        }
    }
    if (text) text[len] = '\0';
    return text;
}
static int run(chopin_pg *db, const char *sql) {
    char *script = sql ? NULL : read_all();
    if (!sql && !script) { fputs("out of memory\n", stderr); return 1; }
    chopin_pg_rows *r = chopin_pg_script(db, sql ? sql : script);
    do {
        bool first = true;
        for (; chopin_pg_next(r); first = false) {
            if (first) print_head(r);
            print_row(r);
        }
        if (chopin_pg_code(r) == 0 && chopin_pg_affected(r) >= 0) fprintf(stderr, "%lld rows\n", (long long)chopin_pg_affected(r));
    } while (chopin_pg_next_result(r));
    int64_t rc = chopin_pg_end(r);
    free(script);
    return rc < 0 ? complain(chopin_pg_error_of(db)) : 0;
}

/* ---- the bar ---- */

typedef struct bar { long long done, total; double from, shown; bool on; } bar;

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
/* `total` 0: not known. Shown only when somebody watches. */
static bar bar_begin(long long total) { return (bar){ .total = total, .from = seconds(), .on = isatty(2) }; }
static void bar_draw(const bar *b, double now) {
    double mib = (double)b->done / 1048576, rate = mib / (now - b->from + 1e-9);
    int    part = b->total > 0 ? (int)(b->done * 40 / b->total) : 0;
    fprintf(stderr, "\r[%.*s%.*s] %8.1f MiB  %7.1f MiB/s ", part, "########################################", 40 - part, "........................................", mib, rate);
}
static void bar_add(bar *b, size_t n) {
    b->done += (long long)n;
    double now = b->on ? seconds() : 0;
    if (!b->on || now - b->shown < 0.1) return;
    b->shown = now;
    bar_draw(b, now);
}
static void bar_end(bar *b) {
    if (!b->on) return;
    bar_draw(b, seconds());
    fputc('\n', stderr);
}

/* ---- import and export ---- */

static const char *format_of(const char *name) {
    if (!name || strcmp(name, "text") == 0) return "format text";
    if (strcmp(name, "csv") == 0)           return "format csv, header";
    return strcmp(name, "binary") == 0 ? "format binary" : NULL;
}
static int import(chopin_pg *db, const char *file, const char *table, const char *format) {
    static char piece[1 << 16];
    char        sql[1000];
    struct stat st = { .st_size = 0 };
    FILE *in = strcmp(file, "-") == 0 ? stdin : fopen(file, "rb");
    if (!in) { perror(file); return 1; }
    if (fstat(fileno(in), &st)) st.st_size = 0;
    if (snprintf(sql, sizeof sql, "copy %s from stdin (%s)", table, format) >= (int)sizeof sql) { fclose(in); return usage(); }
    bar b = bar_begin(S_ISREG(st.st_mode) ? (long long)st.st_size : 0);
    chopin_pg_copy *c = chopin_pg_copy_raw(db, sql);
    int rc = 0;
    for (size_t n; rc == 0 && (n = fread(piece, 1, sizeof piece, in)) > 0; bar_add(&b, n)) rc = chopin_pg_copy_bytes(c, piece, n);
    bool unread = ferror(in) != 0;
    int64_t rows = unread ? chopin_pg_copy_fail(c, "the file could not be read") : chopin_pg_copy_end(c);
    bar_end(&b);
    fclose(in);
    if (unread) { fprintf(stderr, "%s: read error, nothing was imported\n", file); return 1; }
    if (rows < 0) return complain(chopin_pg_error_of(db));
    fprintf(stderr, "%lld rows\n", (long long)rows);
    return 0;
}
static int export(chopin_pg *db, const char *what, const char *file, const char *format) {
    char sql[4000];
    bool query = strchr(what, ' ') != NULL;                  // "select ...": in parentheses; a name: as it is
    if (snprintf(sql, sizeof sql, "copy %s%s%s to stdout (%s)", query ? "(" : "", what, query ? ")" : "", format) >= (int)sizeof sql) return usage();
    FILE *out = strcmp(file, "-") == 0 ? stdout : fopen(file, "wb");
    if (!out) { perror(file); return 1; }
    bar b = bar_begin(0);
    chopin_pg_rows *r = chopin_pg_copy_out(db, sql);
    bool good = true;
    while (good && chopin_pg_next(r)) {
        chopin_str piece = chopin_pg_bytes(r, 0);
        good = fwrite(piece.ptr, 1, piece.len, out) == piece.len;
        bar_add(&b, piece.len);
    }
    int64_t rows = chopin_pg_end(r);
    bar_end(&b);
    good &= fclose(out) == 0;
    if (rows < 0) return complain(chopin_pg_error_of(db));
    if (!good) { perror(file); return 1; }
    fprintf(stderr, "%lld rows\n", (long long)rows);
    return 0;
}

/* ---- listen and notify ---- */

/* For ever: ctrl-C ends it. */
static void listen_to(chopin_pg *db, char **channels, int count) {
    chopin_pg_listener *l = chopin_pg_listen(db, channels[0]);
    chopin_pg_note n;
    for (int i = 1; i < count; i++) chopin_pg_listen_also(l, channels[i]);
    for (;;) {
        int rc = chopin_pg_wait_note(l, &n, -1);
        if (rc < 0) { fprintf(stderr, "%s\n", chopin_pg_why(l)); sleep(1); }      // it connects again by itself
        else if (rc > 0 && n.gap) printf("-- the connection was lost for a while: notes may be missing\n");
        else if (rc > 0) printf("%.*s\t%u\t%.*s\n", CHOPIN_FMT(n.channel), n.pid, CHOPIN_FMT(n.payload));
        fflush(stdout);
    }
}

int main(int argc, char **argv) {
    const char *verb = argc > 1 ? argv[1] : "", *format = format_of(argc > 4 ? argv[4] : NULL);
    chopin_pg  *db = chopin_pg_open(&(chopin_pg_options){ .url = getenv("DATABASE_URL"), .application_name = "pg_tool", .on_notice = notice });
    int rc = 2;
    if (strcmp(verb, "run") == 0 && argc <= 3)                                 rc = run(db, argc > 2 ? argv[2] : NULL);
    else if (strcmp(verb, "import") == 0 && argc >= 4 && argc <= 5 && format)  rc = import(db, argv[2], argv[3], format);
    else if (strcmp(verb, "export") == 0 && argc >= 4 && argc <= 5 && format && strcmp(format, "format binary") != 0) rc = export(db, argv[2], argv[3], format);
    else if (strcmp(verb, "listen") == 0 && argc > 2)                          listen_to(db, argv + 2, argc - 2);
    else if (strcmp(verb, "notify") == 0 && (argc == 3 || argc == 4))          rc = chopin_pg_notify(db, argv[2], argc > 3 ? argv[3] : "") < 0 ? complain(chopin_pg_error_of(db)) : 0;
    else usage();
    chopin_pg_close(db);
    return rc;
}
