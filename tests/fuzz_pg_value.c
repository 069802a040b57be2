/* fuzz_pg_value.c - every codec of values on any bytes: no read beyond the value, and what we write we read back as the same.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined fuzz_pg_value.c -o fuzz_pg_value && ./fuzz_pg_value -max_total_time=60
 *
 * First byte: bit 0 says binary, the rest which getter's turn it is first; second: which type of our table (the last ones: types we do not know); the rest is
 * the value, in an allocation of its own. */
#define CHOPIN_PG_IMPLEMENTATION
#include "../chopin_pg.h"
#include "pg_types.h"

static void must(bool ok, const char *what) {
    if (ok) return;
    fprintf(stderr, "broken: %s\n", what);
    abort();
}

static chopin_pg__value value_of(uint32_t oid, bool binary, const void *bytes, size_t len) {
    return (chopin_pg__value){ .ptr = bytes, .len = (uint32_t)len, .binary = binary, .oid = oid };
}

/* Binary of the binary is the same, its text is the same, and both formats of it mean the same to the getters. */
static void check_written(uint32_t oid, const chopin_pg__out *written, chopin_str text, bool has_text, heap_room_t *h) {
    chopin_pg__value b = value_of(oid, true, written->ptr, written->len);
    chopin_pg__out   again = { .heap = &h->heap };
    chopin_str       same = { "", 0 };
    must(chopin_pg__put_value(&again, &b, &h->room) == 0, "what we wrote cannot be read");
    must(chopin_pg__equal(chopin_pg__str(again.ptr, again.len), chopin_pg__str(written->ptr, written->len)), "written twice, not the same");
    chopin_pg__out_done(&again);
    if (has_text) must(chopin_pg__value_text(&b, &h->room, &same) == 0 && chopin_pg__equal(same, text), "text of what we wrote differs");
}

static void check_formats_agree(uint32_t oid, chopin_str text, heap_room_t *h) {
    chopin_pg__value t = value_of(oid, false, text.ptr, text.len);
    chopin_pg__out   o = { .heap = &h->heap };
    int64_t  i = 0, j = 0;
    double   d = 0, e = 0;
    float    f = 0, g = 0;
    if (chopin_pg__put_value(&o, &t, &h->room) == 0 && chopin_pg__oid_binary(oid)) {
        chopin_pg__value b = value_of(oid, true, o.ptr ? (const void *)o.ptr : "", o.len);
        must(chopin_pg__value_i64(&t, INT64_MIN, INT64_MAX, &i) == chopin_pg__value_i64(&b, INT64_MIN, INT64_MAX, &j), "status of i64");
        must(i == j, "i64 of text and binary");
        must(chopin_pg__value_f64(&t, &d) == chopin_pg__value_f64(&b, &e), "status of f64");
        must(memcmp(&d, &e, sizeof d) == 0 || (d != d && e != e), "f64 of text and binary");
        must(chopin_pg__value_f32(&t, &f) == chopin_pg__value_f32(&b, &g), "status of f32");
        must(memcmp(&f, &g, sizeof f) == 0 || (f != f && g != g), "f32 of text and binary");
        chopin_str back = { "", 0 };
        must(chopin_pg__value_text(&b, &h->room, &back) == 0, "binary of our own has no text");
        must(chopin_pg__equal(back, text), "text, binary, text: not the same");
    }
    chopin_pg__out_done(&o);
}

static void codecs(uint32_t oid, bool binary, const uint8_t *bytes, size_t len) {
    heap_room_t h;
    heap_room_init(&h);
    chopin_pg__value v = value_of(oid, binary, bytes, len);
    chopin_pg__out   o = { .heap = &h.heap };
    chopin_str       text = { "", 0 };
    bool has_text = chopin_pg__value_text(&v, &h.room, &text) == 0;
    bool written  = chopin_pg__put_value(&o, &v, &h.room) == 0 && !o.status;
    bool textual  = chopin_pg__type_of(oid)->kind <= CHOPIN_PG__C_ASK;
    if (written && !textual) check_written(oid, &o, text, has_text && binary, &h);
    if (has_text && binary) check_formats_agree(oid, text, &h);
    if (has_text && !binary && written && !textual) {                    // the server's own writing of it
        chopin_pg__value b = value_of(oid, true, o.ptr ? (const void *)o.ptr : "", o.len);
        if (chopin_pg__value_text(&b, &h.room, &text) == 0) check_formats_agree(oid, text, &h);
    }
    chopin_pg__out_done(&o);
    heap_room_done(&h);
}

static void getters(chopin_pg_rows *r, int column, unsigned which, int depth) {
    double   shape[4];
    int32_t  size[6], first[6];
    unsigned flags;
    for (unsigned i = 0; i < 8; i++) {                                   // the first failure sticks: each one has its turn
        r->object.status = 0;
        switch ((which + i * 5) % 29) {
        case 0:  chopin_pg_bool(r, column); break;
        case 1:  chopin_pg_i16(r, column); break;
        case 2:  chopin_pg_i32(r, column); break;
        case 3:  chopin_pg_i64_or(r, column, 1); break;
        case 4:  chopin_pg_u32(r, column); break;
        case 5:  chopin_pg_u64(r, column); break;
        case 6:  chopin_pg_f32(r, column); break;
        case 7:  chopin_pg_f64(r, column); break;
        case 8:  chopin_pg_text(r, column); break;
        case 9:  chopin_pg_json(r, column); break;
        case 10: chopin_pg_bytes(r, column); break;
        case 11: chopin_pg_uuid(r, column); break;
        case 12: chopin_pg_time(r, column); break;
        case 13: chopin_pg_date(r, column); break;
        case 14: chopin_pg_clock(r, column); break;
        case 15: chopin_pg_interval(r, column); break;
        case 16: chopin_pg_numeric(r, column); break;
        case 17: chopin_pg_decimal(r, column, (int)which - 100); break;
        case 18: chopin_pg_inet(r, column); break;
        case 19: chopin_pg_mac(r, column); break;
        case 20: chopin_pg_bits(r, column); break;
        case 21: chopin_pg_point(r, column); break;
        case 22: chopin_pg_shape(r, column, shape, 4); break;
        case 23: chopin_pg_dims(r, column, size, first); break;
        case 24: case 25: case 26: case 27: {
            bool once = (which + i * 5) % 29 > 25;
            chopin_pg_rows *n = (which + i * 5) % 29 == 24 ? chopin_pg_array(r, column) : (which + i * 5) % 29 == 25 ? chopin_pg_pairs(r, column) :
                                (which + i * 5) % 29 == 26 ? chopin_pg_record(r, column) : chopin_pg_range(r, column, &flags);
            for (int k = 0; n && depth < 4 && k < 20 && (once ? k == 0 : n->nest->step(n->nest) > 0); k++) {
                for (int c = 0; n->nest->row && c < n->nest->columns && c < 8; c++) getters(n, c, which + i, depth + 1);
            }
            break;
        }
        default: chopin_pg_is_null(r, column); break;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    if (len < 2) return 0;
    bool     binary = data[0] & 1;
    size_t   at = data[1];
    uint32_t oid = at < CHOPIN_PG__COUNT(chopin_pg__types) ? chopin_pg__types[at].oid : 100000;
    uint8_t *copy = malloc(len - 2 ? len - 2 : 1);
    memcpy(copy, data + 2, len - 2);
    codecs(oid, binary, copy, len - 2);
    free(copy);
    row_t row;
    row_init(&row, binary);
    row_add(&row, oid, data + 2, len - 2);
    getters(row.r, 0, data[0] >> 1, 0);
    row_done(&row);
    return 0;
}
