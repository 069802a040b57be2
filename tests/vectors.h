/* vectors.h - reads the files in tests/vectors: JSON with one case per line, and NIST .rsp. Missing or odd files fail the test, they never skip it.
 *
 *     vec v;
 *     for (vec_open(&v, "rfc/pbkdf2.json"); vec_next(&v, "sha256");) {             // NULL: all sections
 *         chopin_str password = vec_hex(&v, "password");
 *         ... vec_int(&v, "iterations") ... vec_is(&v, "result", "valid") ... vec_group_int(&v, "tagSize") ...
 *     }
 *     vec_close(&v, 60);                                                            // how many cases there must have been
 *
 * Strings live until the next vec_next(). Needs test.h and chopin_auth.h (chopin_str) before it. */
#ifndef CHOPIN_TEST_VECTORS_H
#define CHOPIN_TEST_VECTORS_H
#include <stdlib.h>

typedef struct vec { char *text, *line, *end; int cases; bool rsp; size_t used; char *room; char section[64]; size_t size; } vec;

static inline void vec_open(vec *v, const char *name) {
    static const char *const folders[] = { "tests/vectors/", "vectors/", "../tests/vectors/" };
    char path[512];
    FILE *f = NULL;
    memset(v, 0, sizeof *v);
    for (size_t i = 0; i < 3 && !f; i++) {
        snprintf(path, sizeof path, "%s%s", folders[i], name);
        f = fopen(path, "rb");
    }
    if (!f) { printf("cannot open vectors/%s\n", name); CHECK(f != NULL); v->text = calloc(1, 2); v->room = calloc(1, 2); v->end = v->text; return; }
    v->rsp = strstr(name, ".rsp") != NULL;
    for (size_t got = 1; got > 0; v->size += got) {
        v->text = realloc(v->text, v->size + 65537);
        got = fread(v->text + v->size, 1, 65536, f);
    }
    fclose(f);
    v->text[v->size] = 0;
    v->room = malloc(v->size + 4096);
    v->end = v->text;
}

/* The next case: a line that opens with {, or for .rsp the lines up to an empty one that hold an = sign outside of [ ]. */
static inline bool vec_next(vec *v, const char *section) {
    v->used = 0;
    for (;;) {
        v->line = v->end;
        if (*v->line == 0) return false;
        if (v->rsp) {
            char *stop = strstr(v->line, "\n\n"), *crlf = strstr(v->line, "\r\n\r\n");
            if (crlf && (!stop || crlf < stop)) stop = crlf + 2;
            v->end = stop ? stop + 2 : v->line + strlen(v->line);
            while (*v->line == '\n' || *v->line == '\r') v->line++;
            if (*v->line == '#' || *v->line == '[' || *v->line == 0) continue;
            v->cases++;
            return true;
        }
        char *stop = strchr(v->line, '\n');
        v->end = stop ? stop + 1 : v->line + strlen(v->line);
        while (*v->line == ' ') v->line++;
        if (v->line[0] == '"') {                                  // "name": [ opens a section; others are fields of a group
            char *quote = strchr(v->line + 1, '"');
            if (quote && strncmp(quote, "\": [\n", 5) == 0) snprintf(v->section, sizeof v->section, "%.*s", (int)(quote - v->line - 1), v->line + 1);
        }
        if (v->line[0] == '{' && v->line[1] == '"' && (!section || strcmp(section, v->section) == 0)) { v->cases++; return true; }
    }
}

/* Where the value of a field begins, NULL if absent. */
static inline char *vec_find(const vec *v, char *from, char *to, const char *name) {
    char key[80];
    snprintf(key, sizeof key, v->rsp ? "%s = " : "\"%s\":", name);
    for (char *p = from; (p = strstr(p, key)) != NULL && p < to; p++) {
        if (v->rsp && p != from && p[-1] != '\n') continue;
        p += strlen(key);
        while (*p == ' ') p++;
        return p;
    }
    return NULL;
}
static inline bool vec_has(const vec *v, const char *name) { return vec_find(v, v->line, v->end, name) != NULL; }
static inline long long vec_int(const vec *v, const char *name) {
    char *p = vec_find(v, v->line, v->end, name);
    if (!CHECK(p != NULL)) { printf("no field %s\n", name); return -1; }
    return strtoll(p, NULL, 10);
}
/* A field of the group: the last one before this case. */
static inline char *vec_group_find(const vec *v, const char *name) {
    char *last = NULL, *at = v->text;
    for (char *p; (p = vec_find(v, at, v->line, name)) != NULL; at = p) last = p;
    return last;
}
static inline long long vec_group_int(const vec *v, const char *name) {
    char *p = vec_group_find(v, name);
    return CHECK(p != NULL) ? strtoll(p, NULL, 10) : -1;
}

static inline int vec_digit(char ch) {
    return ch >= '0' && ch <= '9' ? ch - '0' : ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : ch >= 'A' && ch <= 'F' ? ch - 'A' + 10 : -1;
}
static inline chopin_str vec_hex_at(vec *v, char *p) {
    char *out = v->room + v->used;
    size_t n = 0;
    if (p && *p == '"') p++;
    for (; p && vec_digit(p[0]) >= 0 && vec_digit(p[1]) >= 0; p += 2) out[n++] = (char)(vec_digit(p[0]) * 16 + vec_digit(p[1]));
    v->used += n + 1;
    return (chopin_str){ out, n };
}
static inline chopin_str vec_hex(vec *v, const char *name) {
    char *p = vec_find(v, v->line, v->end, name);
    if (!CHECK(p != NULL)) printf("no field %s in %.60s\n", name, v->line);
    return vec_hex_at(v, p);
}
/* A text field, unescaped (\u below 0x100 becomes one byte) and terminated. */
static inline chopin_str vec_text_at(vec *v, char *p) {
    char *out = v->room + v->used;
    size_t n = 0;
    if (p && *p == '"') {
        for (p++; *p && *p != '"'; p++) {
            if (*p != '\\') { out[n++] = *p; continue; }
            p++;
            if (*p == 'u') { out[n++] = (char)(vec_digit(p[3]) * 16 + vec_digit(p[4])); p += 4; }
            else out[n++] = *p == 'n' ? '\n' : *p == 'r' ? '\r' : *p == 't' ? '\t' : *p;
        }
    } else if (p && v->rsp) {
        while (*p && *p != '\n' && *p != '\r') out[n++] = *p++;
    }
    out[n] = 0;
    v->used += n + 1;
    return (chopin_str){ out, n };
}
static inline chopin_str vec_text(vec *v, const char *name) {
    char *p = vec_find(v, v->line, v->end, name);
    if (!CHECK(p != NULL)) printf("no field %s in %.60s\n", name, v->line);
    return vec_text_at(v, p);
}
static inline bool vec_is(vec *v, const char *name, const char *value) {
    char *p = vec_find(v, v->line, v->end, name);
    return p && *p == '"' && strncmp(p + 1, value, strlen(value)) == 0 && p[1 + strlen(value)] == '"';
}
static inline void vec_close(vec *v, int cases) {
    CHECK_EQ_INT(v->cases, cases);
    free(v->text), free(v->room);
}
#endif
