/* pg_types.h - tools of the tests of types: one row without a connection, and a small blocking client of its own, so that what is tested is not what asks.
 *
 *     row_t row; row_of(&row, 1, true, 23, "\x00\x00\x00\x07", 4);  chopin_pg_i32(row.r, 0) == 7;  row_done(&row);
 *     wire_t w; wire_open(&w); wire_run(&w, "select $1::int4", params, 1, 1); w.rows, w.cell(row, column) ...
 *
 * Include after the implementation. */
#ifndef PG_TYPES_H
#define PG_TYPES_H

#include "test.h"

/* ---- one row in hand ---- */
enum { ROW_COLUMNS = 16 };
typedef struct row_t {
    chopin_pg_rows   rows;
    chopin_pg_rows  *r;
    chopin_pg__heap  heap;
    chopin_pg__shape *shape;
    chopin_pg__cell  cells[ROW_COLUMNS];
    void            *copies[ROW_COLUMNS];
} row_t;

static inline void row_init(row_t *row, bool binary) {
    memset(row, 0, sizeof *row);
    chopin_pg__heap_init(&row->heap, NULL, NULL);
    row->shape = calloc(1, sizeof *row->shape + ROW_COLUMNS * sizeof row->shape->column[0]);
    row->r = &row->rows;
    row->rows.object.heap = &row->heap;
    row->rows.object.kind = CHOPIN_PG__ROWS;
    row->rows.shape  = row->shape;
    row->rows.cells  = row->cells;
    row->rows.binary = binary;
    row->rows.on_row = true;
    chopin_pg__arena_init(&row->rows.room, &row->heap, 0);
}

/* Each value is an allocation of its own: a sanitizer sees what is read beyond it. NULL: the SQL NULL. */
static inline void row_add(row_t *row, uint32_t oid, const void *bytes, size_t len) {
    static const char *const names[] = { "alpha", "beta", "gamma", "delta" };
    uint32_t i = row->shape->columns++;
    row->shape->column[i] = (chopin_pg__shape_column){ .name = chopin_pg__str_z(names[i % 4]), .oid = oid, .binary = row->rows.binary };
    row->copies[i] = bytes ? malloc(len ? len : 1) : NULL;
    if (bytes && len) memcpy(row->copies[i], bytes, len);
    row->cells[i] = (chopin_pg__cell){ .ptr = row->copies[i], .len = bytes ? (uint32_t)len : CHOPIN_PG__NULL };
}

static inline void row_done(row_t *row) {
    for (uint32_t i = 0; i < ROW_COLUMNS; i++) free(row->copies[i]);
    chopin_pg__arena_free(&row->rows.room);
    chopin_pg__object_done(&row->rows.object);
    free(row->shape);
}

static inline void row_text(row_t *row, uint32_t oid, const char *text) {
    row_init(row, false);
    row_add(row, oid, text, text ? strlen(text) : 0);
}

static inline void row_binary(row_t *row, uint32_t oid, const void *bytes, size_t len) {
    row_init(row, true);
    row_add(row, oid, bytes, len);
}

/* Bytes from hex digits; blanks are skipped. Gives how many. */
static inline size_t unhex(const char *hex, uint8_t *out) {
    size_t n = 0;
    for (; *hex; hex++) {
        if (*hex == ' ') continue;
        out[n++] = (uint8_t)(chopin_pg__hex_value(hex[0]) << 4 | chopin_pg__hex_value(hex[1]));
        hex++;
    }
    return n;
}

static inline void row_hex(row_t *row, uint32_t oid, const char *hex) {
    uint8_t bytes[4096];
    row_binary(row, oid, bytes, unhex(hex, bytes));
}

static inline const char *row_why(row_t *row) { return row->rows.object.status && row->rows.object.error ? row->rows.object.error->why : ""; }

/* ---- memory for decoders ---- */
typedef struct heap_room_t { chopin_pg__heap heap; chopin_pg__arena arena; chopin_pg__room room; } heap_room_t;

static inline void *heap_room_take(void *ctx, size_t n) { return chopin_pg__arena_alloc((chopin_pg__arena *)ctx, n); }
static inline void heap_room_init(heap_room_t *h) {
    chopin_pg__heap_init(&h->heap, NULL, NULL);
    memset(&h->arena, 0, sizeof h->arena);
    chopin_pg__arena_init(&h->arena, &h->heap, 0);
    h->room = (chopin_pg__room){ heap_room_take, &h->arena };
}
static inline void heap_room_done(heap_room_t *h) { chopin_pg__arena_free(&h->arena); }

/* ---- a client: trust, unix socket of $CHOPIN_PG_SOCKETS ---- */
typedef struct wire_param_t { const void *bytes; size_t len; bool binary; uint32_t oid; } wire_param_t;      // bytes NULL: NULL

typedef struct wire_t {
    int      fd;
    char     sqlstate[6], message[256];
    uint8_t *data;                     // bodies of all rows, one behind the other
    size_t   len, cap;
    size_t  *at;                       // where each row begins
    size_t   rows, rows_cap;
    unsigned columns, params;
    uint32_t oid[32], param_oid[32];
} wire_t;

static inline void wire_send(wire_t *w, const void *bytes, size_t n) {
    for (const char *p = bytes; n > 0; ) {
        ssize_t sent = send(w->fd, p, n, MSG_NOSIGNAL);
        if (sent <= 0) { perror("send"); exit(1); }
        p += sent;
        n -= (size_t)sent;
    }
}

static inline void wire_recv(wire_t *w, void *to, size_t n) {
    for (char *p = to; n > 0; ) {
        ssize_t got = recv(w->fd, p, n, 0);
        if (got <= 0) { fprintf(stderr, "the server closed the connection: %s %s\n", w->sqlstate, w->message); exit(1); }
        p += got;
        n -= (size_t)got;
    }
}

static inline void wire_error(wire_t *w, const uint8_t *body, size_t len) {
    for (size_t i = 0; i < len && body[i]; ) {
        const char *text = (const char *)body + i + 1;
        if (body[i] == 'C') snprintf(w->sqlstate, sizeof w->sqlstate, "%s", text);
        if (body[i] == 'M') snprintf(w->message, sizeof w->message, "%s", text);
        i += strlen(text) + 2;
    }
}

static inline void wire_row(wire_t *w, const uint8_t *body, size_t len) {
    if (w->rows == w->rows_cap) w->at = realloc(w->at, (w->rows_cap = w->rows_cap * 2 + 64) * sizeof *w->at);
    while (w->len + len > w->cap) w->data = realloc(w->data, w->cap = w->cap * 2 + 65536);
    w->at[w->rows++] = w->len;
    memcpy(w->data + w->len, body, len);
    w->len += len;
}

static inline void wire_describe(wire_t *w, const uint8_t *body) {
    w->columns = chopin_pg__load16(body);
    const uint8_t *p = body + 2;
    for (unsigned i = 0; i < w->columns && i < 32; i++) {
        p += strlen((const char *)p) + 1;
        w->oid[i] = chopin_pg__load32(p + 6);
        p += 18;
    }
}

/* Reads to ReadyForQuery. */
static inline void wire_answers(wire_t *w) {
    for (char type = 0; type != 'Z'; ) {
        uint8_t head[5];
        wire_recv(w, head, 5);
        size_t   len = chopin_pg__load32(head + 1) - 4;
        uint8_t *body = malloc(len + 1);
        wire_recv(w, body, len);
        body[len] = 0;
        type = (char)head[0];
        if (type == 'E') wire_error(w, body, len);
        if (type == 'T') wire_describe(w, body);
        if (type == 'D') wire_row(w, body, len);
        if (type == 't') for (unsigned i = 0; i < chopin_pg__load16(body) && i < 32; i++) { w->params = i + 1; w->param_oid[i] = chopin_pg__load32(body + 2 + 4 * i); }
        free(body);
    }
}

static inline void wire_reset(wire_t *w) {
    w->sqlstate[0] = w->message[0] = 0;
    w->len = w->rows = 0;
    w->columns = w->params = 0;
}

/* `formats`: one for each result column, count of them (0: text). False: an error, see w->sqlstate. */
static inline bool wire_query(wire_t *w, const char *sql, const wire_param_t *params, unsigned count, const int *formats, unsigned columns) {
    chopin_pg__heap heap;
    chopin_pg__heap_init(&heap, NULL, NULL);
    chopin_pg__out o = { .heap = &heap };
    wire_reset(w);
    size_t mark = chopin_pg__begin_message(&o, 'P');
    chopin_pg__put_u8(&o, 0);
    chopin_pg__put_z(&o, chopin_pg__str_z(sql));
    chopin_pg__put_u16(&o, count);
    for (unsigned i = 0; i < count; i++) chopin_pg__put_u32(&o, params[i].oid);
    chopin_pg__end_message(&o, mark);
    mark = chopin_pg__begin_message(&o, 'D');
    chopin_pg__put_bytes(&o, "S", 2);
    chopin_pg__end_message(&o, mark);
    mark = chopin_pg__begin_message(&o, 'B');
    chopin_pg__put_bytes(&o, "\0", 2);
    chopin_pg__put_u16(&o, count);
    for (unsigned i = 0; i < count; i++) chopin_pg__put_u16(&o, params[i].binary ? 1 : 0);
    chopin_pg__put_u16(&o, count);
    for (unsigned i = 0; i < count; i++) {
        chopin_pg__put_u32(&o, params[i].bytes ? (uint32_t)params[i].len : UINT32_MAX);
        if (params[i].bytes) chopin_pg__put_bytes(&o, params[i].bytes, params[i].len);
    }
    chopin_pg__put_u16(&o, columns);
    for (unsigned i = 0; i < columns; i++) chopin_pg__put_u16(&o, (uint32_t)formats[i]);
    chopin_pg__end_message(&o, mark);
    mark = chopin_pg__begin_message(&o, 'E');
    chopin_pg__put_bytes(&o, "\0\0\0\0", 5);
    chopin_pg__end_message(&o, mark);
    chopin_pg__end_message(&o, chopin_pg__begin_message(&o, 'S'));
    wire_send(w, o.ptr, o.len);
    chopin_pg__out_done(&o);
    wire_answers(w);
    return w->sqlstate[0] == 0;
}

/* What must work. */
static inline void wire_do(wire_t *w, const char *sql) {
    if (!wire_query(w, sql, NULL, 0, NULL, 0)) { fprintf(stderr, "%s: %s %s\n", sql, w->sqlstate, w->message); exit(1); }
}

static inline chopin_pg__value wire_value(const wire_t *w, size_t row, unsigned column, bool binary) {
    const uint8_t *p = w->data + w->at[row] + 2;
    for (unsigned i = 0; i < column; i++) {
        uint32_t n = chopin_pg__load32(p);
        p += 4 + (n == UINT32_MAX ? 0 : n);
    }
    uint32_t n = chopin_pg__load32(p);
    bool     null = n == UINT32_MAX;
    return (chopin_pg__value){ .ptr = p + 4, .len = null ? 0 : n, .null = null, .binary = binary, .oid = w->oid[column] };
}

static inline bool wire_open(wire_t *w) {
    const char *folder = getenv("CHOPIN_PG_SOCKETS"), *port = getenv("CHOPIN_PG_PORT");
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    memset(w, 0, sizeof *w);
    if (!folder || !port) return false;
    snprintf(a.sun_path, sizeof a.sun_path, "%.60s/.s.PGSQL.%.8s", folder, port);
    w->fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(w->fd, (struct sockaddr *)&a, sizeof a) != 0) return false;
    static const char hello[] = "\0\0\0\0\0\3\0\0user\0tester\0database\0postgres\0client_encoding\0UTF8\0DateStyle\0ISO\0";
    uint8_t start[sizeof hello];
    memcpy(start, hello, sizeof hello);
    chopin_pg__store32(start, sizeof hello);
    wire_send(w, start, sizeof hello);
    wire_answers(w);
    return true;
}

static inline void wire_close(wire_t *w) {
    close(w->fd);
    free(w->data);
    free(w->at);
}

#endif
