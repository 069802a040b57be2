/* fuzz_pg_param.c - parameters made of any bytes, into any type: lengths that fit, what we write we read, and a copy is written like its original.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined fuzz_pg_param.c -o fuzz_pg_param && ./fuzz_pg_param -max_total_time=60
 *
 * First byte: the type; then a parameter: its kind, and what the kind needs. */
#define CHOPIN_PG_IMPLEMENTATION
#include "../chopin_pg.h"
#include "pg_types.h"

typedef struct input_t { const uint8_t *at, *end; heap_room_t *h; } input_t;

static void must(bool ok, const char *what) {
    if (ok) return;
    fprintf(stderr, "broken: %s\n", what);
    abort();
}

static uint8_t byte(input_t *in) { return in->at < in->end ? *in->at++ : 0; }

static void fill(input_t *in, void *to, size_t n) {
    memset(to, 0, n);
    n = chopin_pg__min(n, (size_t)(in->end - in->at));
    memcpy(to, in->at, n);
    in->at += n;
}

/* Bytes in memory of their own. */
static chopin_str bytes_of(input_t *in) {
    size_t n = chopin_pg__min(byte(in), (size_t)(in->end - in->at));
    char  *p = chopin_pg__arena_alloc(&in->h->arena, n + 1);
    memcpy(p, in->at, n);
    in->at += n;
    return chopin_pg__str(p, n);
}

static chopin_pg_param param_of(input_t *in, int depth);

static chopin_pg_param list_of(input_t *in, int kind, int depth) {
    size_t n = byte(in) % 6;
    if (kind == CHOPIN_PG__P_RANGE && n != 5) n = 2;
    void *items = chopin_pg__arena_alloc(&in->h->arena, n * sizeof(chopin_pg_param) + 1);
    chopin_pg_param p = { .kind = kind, .flags = kind == CHOPIN_PG__P_RANGE ? byte(in) : 0 };
    for (size_t i = 0; i < n; i++) {
        switch (kind) {
        case CHOPIN_PG__P_I32S:  fill(in, (int32_t *)items + i, 4); break;
        case CHOPIN_PG__P_I64S:  fill(in, (int64_t *)items + i, 8); break;
        case CHOPIN_PG__P_F64S:  fill(in, (double *)items + i, 8); break;
        case CHOPIN_PG__P_BOOLS: ((bool *)items)[i] = byte(in) & 1; break;
        case CHOPIN_PG__P_TEXTS: ((chopin_str *)items)[i] = bytes_of(in); if (byte(in) == 0) ((chopin_str *)items)[i].ptr = NULL; break;
        default: ((chopin_pg_param *)items)[i] = depth < 8 ? param_of(in, depth + 1) : CHOPIN_PG_NULL; break;
        }
    }
    p.as.list.items = items;
    p.as.list.count = n;
    return p;
}

static chopin_pg_param param_of(input_t *in, int depth) {
    chopin_pg_param p = { .kind = byte(in) % (CHOPIN_PG__P_TEXTS + 1) };
    switch (p.kind) {
    case CHOPIN_PG__P_NULL: break;
    case CHOPIN_PG__P_BOOL: p.as.boolean = byte(in) & 1; break;
    case CHOPIN_PG__P_TEXT: case CHOPIN_PG__P_BYTES: case CHOPIN_PG__P_NUMERIC: p.as.text = bytes_of(in); break;
    case CHOPIN_PG__P_DECIMAL: fill(in, &p.as.decimal.unscaled, 8); p.as.decimal.scale = (int8_t)byte(in); break;
    case CHOPIN_PG__P_CLOCK: fill(in, &p.as.clock.us, 8); fill(in, &p.as.clock.east, 4); p.as.clock.zoned = byte(in) & 1; break;
    case CHOPIN_PG__P_INET: fill(in, p.as.inet.bytes, 16); p.as.inet.len = byte(in); p.as.inet.bits = byte(in); p.as.inet.cidr = byte(in) & 1; break;
    case CHOPIN_PG__P_MAC: fill(in, p.as.mac.bytes, 8); p.as.mac.len = byte(in); break;
    case CHOPIN_PG__P_BITS: {
        chopin_str s = bytes_of(in);
        p.as.bits = (chopin_bits){ (const uint8_t *)s.ptr, s.len * 8 - (s.len ? byte(in) % 8 : 0) };
        break;
    }
    default:
        if (chopin_pg__param_is_list(p.kind)) return list_of(in, p.kind, depth);
        fill(in, &p.as, 16);
        break;
    }
    return p;
}

static int encode(const chopin_pg_param *p, uint32_t oid, chopin_pg__out *o, heap_room_t *h, bool copy) {
    chopin_pg_error e;
    chopin_pg__error_init(&e, &h->heap);
    int rc = copy ? chopin_pg__param_copy(p, oid, o, &e) : chopin_pg__param_encode(p, oid, o, &e);
    must(rc >= 0 || (e.status == rc && e.why && strlen(e.sqlstate) == 5), "an error without its text or SQLSTATE");
    if (rc >= 0 && p->kind) must(o->len >= 4 && chopin_pg__load32(o->ptr) == o->len - 4, "the length is not that of the value");
    if (rc >= 0 && !p->kind) must(o->len == 4 && chopin_pg__load32(o->ptr) == UINT32_MAX, "NULL is not -1");
    chopin_pg__error_clear(&e);
    return rc;
}

static void check(const chopin_pg_param *p, uint32_t oid, heap_room_t *h, bool copy) {
    chopin_pg__out o = { .heap = &h->heap }, again = { .heap = &h->heap };
    int rc = encode(p, oid, &o, h, copy);
    chopin_pg_param  kept = *p;
    chopin_pg__arena arena = { 0 };
    chopin_pg__arena_init(&arena, &h->heap, 0);
    must(chopin_pg__param_keep(&kept, &arena), "no copy");
    must(encode(&kept, oid, &again, h, copy) == rc, "the copy is encoded differently");
    if (rc >= 0) must(o.len == again.len && memcmp(o.ptr, again.ptr, o.len) == 0, "the copy has other bytes");
    bool ours = chopin_pg__type_of(oid)->kind > CHOPIN_PG__C_JSONB && chopin_pg__type_of(oid)->kind != CHOPIN_PG__C_MONEY;
    if (rc == 1 && p->kind && ours) {
        chopin_pg__value v = { .ptr = o.ptr + 4, .len = (uint32_t)o.len - 4, .binary = true, .oid = oid };
        chopin_pg__out   third = { .heap = &h->heap };
        must(chopin_pg__put_value(&third, &v, &h->room) == 0, "what was written cannot be read");
        chopin_pg__out_done(&third);
    }
    chopin_pg__arena_free(&arena);
    chopin_pg__out_done(&o);
    chopin_pg__out_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    heap_room_t     h;
    chopin_pg_error e;
    if (len < 2) return 0;
    heap_room_init(&h);
    chopin_pg__error_init(&e, &h.heap);
    uint32_t oid = data[0] < CHOPIN_PG__COUNT(chopin_pg__types) ? chopin_pg__types[data[0]].oid : 100000;
    input_t  in = { data + 1, data + len, &h };
    chopin_pg_param p = param_of(&in, 0);
    if (chopin_pg__param_check(&p, &e) == 0) {
        chopin_pg__param_extra(&p);
        check(&p, 0, &h, false);
        check(&p, oid, &h, false);
        check(&p, oid, &h, true);
    }
    chopin_pg__error_clear(&e);
    heap_room_done(&h);
    return 0;
}
