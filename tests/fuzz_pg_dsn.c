/* fuzz_pg_dsn.c - connection strings, password files and service files of any bytes.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined fuzz_pg_dsn.c -o fuzz_pg_dsn && ./fuzz_pg_dsn -max_total_time=60
 *
 * First byte: what to read. A string that is accepted is printed with keywords and read again: the same options. Refusals say where, not what. */
#define CHOPIN_PG_IMPLEMENTATION
#include "../chopin_pg.h"

static chopin_pg__heap heap;

static void quiet(void *ctx, chopin_pg_level level, const char *text) { (void)ctx; (void)level; (void)text; }
static const chopin_pg__logger nobody = { quiet, NULL };

static chopin_pg__dsn *dsn_new(chopin_pg_error *e) {
    chopin_pg__dsn *d = calloc(1, sizeof *d);
    chopin_pg__heap_init(&heap, NULL, NULL);
    chopin_pg__error_init(e, &heap);
    chopin_pg__arena_init(&d->arena, &heap, 0);
    return d;
}
static void dsn_free(chopin_pg__dsn *d, chopin_pg_error *e) {
    chopin_pg__dsn_done(d);
    chopin_pg__error_clear(e);
    free(d);
}

/* Like chopin_pg__dsn_text(), secrets included. */
static char *printed(const chopin_pg__dsn *d) {
    size_t size = 1;
    for (int i = 0; i < CHOPIN_PG__OPTION_COUNT; i++) if (d->value[i].ptr) size += 2 * d->value[i].len + strlen(chopin_pg__option_at(i)->keyword) + 4;
    char *out = malloc(size), *at = out;
    for (int i = 0; i < CHOPIN_PG__OPTION_COUNT; i++) {
        if (!d->value[i].ptr) continue;
        at += sprintf(at, "%s='", chopin_pg__option_at(i)->keyword);
        for (size_t k = 0; k < d->value[i].len; k++) {
            if (d->value[i].ptr[k] == '\'' || d->value[i].ptr[k] == '\\') *at++ = '\\';
            *at++ = d->value[i].ptr[k];
        }
        *at++ = '\'';
        *at++ = ' ';
    }
    *at = 0;
    return out;
}

static void fuzz_read(const char *text) {
    chopin_pg_error  e, again_e;
    chopin_pg__dsn  *d = dsn_new(&e);
    int rc = chopin_pg__dsn_read(d, chopin_pg__str_z(text), &e);
    if (rc != CHOPIN_PG_OK && (rc != CHOPIN_PG_ARG || !strstr(e.why, "connection string: "))) abort();
    if (rc == CHOPIN_PG_OK) {
        for (int i = 0; i < CHOPIN_PG__OPTION_COUNT; i++) {
            if (d->value[i].ptr && (strlen(d->value[i].ptr) != d->value[i].len)) abort();
        }
        char           *copy = printed(d);
        chopin_pg__dsn *again = dsn_new(&again_e);
        if (chopin_pg__dsn_read(again, chopin_pg__str_z(copy), &again_e) != CHOPIN_PG_OK) abort();
        for (int i = 0; i < CHOPIN_PG__OPTION_COUNT; i++) {
            if (!again->value[i].ptr != !d->value[i].ptr || !chopin_pg__equal(again->value[i], d->value[i])) abort();
        }
        dsn_free(again, &again_e);
        free(copy);
    }
    dsn_free(d, &e);
}

/* The whole way, in a world without variables and files. */
static void fuzz_load(const char *text) {
    chopin_pg_error   e;
    chopin_pg__dsn   *d = dsn_new(&e);
    chopin_pg__world  w = { .no_files = true, .log = &nobody };
    static const char *const files[] = { "passfile", "service", "ssl" };
    for (size_t i = 0; i < CHOPIN_PG__COUNT(files); i++) if (strstr(text, files[i])) { dsn_free(d, &e); return; }     // no fuzzed paths are opened
    int rc = chopin_pg__dsn_load(d, &heap, text, NULL, &w, &e);
    if (rc == CHOPIN_PG_OK) {
        char masked[200];
        if (d->host_count < 1 || !d->user.len || !d->database.len || chopin_pg__has_nul(d->user)) abort();
        for (int i = 0; i < d->host_count; i++) if (!d->hosts[i].port || (!d->hosts[i].host.len && !d->hosts[i].hostaddr.len)) abort();
        chopin_pg__dsn_text(d, masked, sizeof masked);
        chopin_pg__dsn_tls_allowed(d, false, &e);
    }
    dsn_free(d, &e);
}

static void fuzz_passfile(const uint8_t *data, size_t len) {
    char *copy = malloc(len ? len : 1);
    if (len) memcpy(copy, data, len);
    chopin_str found = chopin_pg__passfile_find(chopin_pg__str(copy, len), CHOPIN_STR("h"), CHOPIN_STR("5432"), CHOPIN_STR("d"), CHOPIN_STR("u"));
    if (found.ptr) {
        if (found.ptr < copy || found.ptr + found.len > copy + len || chopin_pg__has_nul(found)) abort();
        char  *password = malloc(found.len + 1);
        memcpy(password, found.ptr, found.len);
        if (chopin_pg__passfile_unescape(password, found.len) > found.len) abort();
        free(password);
    }
    free(copy);
}

static void fuzz_service(const uint8_t *data, size_t len) {
    chopin_pg_error e;
    chopin_pg__dsn *d = dsn_new(&e);
    char           *copy = malloc(len ? len : 1);
    if (len) memcpy(copy, data, len);
    chopin_pg__service s = { d, CHOPIN_STR("s"), &e, false };
    int rc = chopin_pg__service_file(&s, "file", chopin_pg__str(copy, len));
    if (rc != CHOPIN_PG_OK && (rc != CHOPIN_PG_ARG || !strstr(e.why, "line"))) abort();
    for (int i = 0; i < CHOPIN_PG__OPTION_COUNT; i++) {
        if (d->value[i].ptr && (!s.found || chopin_pg__has_nul(d->value[i]))) abort();
    }
    free(copy);
    dsn_free(d, &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    if (len == 0) return 0;
    unsigned way = data[0] & 3;
    data++;
    len--;
    if (way == 2) { fuzz_passfile(data, len); return 0; }
    if (way == 3) { fuzz_service(data, len); return 0; }
    char *text = malloc(len + 1);
    memcpy(text, data, len);
    text[len] = 0;
    if (way == 0) fuzz_read(text); else fuzz_load(text);
    free(text);
    return 0;
}
