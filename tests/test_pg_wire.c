/* test_pg_wire.c - the codec: what is whole, what is short, what lies. Pure: no server. Inputs stand against an unreadable page, so one byte too far is a fault. */
#define _GNU_SOURCE 1
#define CHOPIN_PG_IMPLEMENTATION
#include "../chopin_pg.h"
#include <sys/mman.h>
#include "test.h"

/* ---- tools ---- */
static uint8_t *guarded(const void *bytes, size_t n) {         // the last byte is followed by nothing
    static uint8_t *page;
    size_t size = 1 << 20;
    if (!page) {
        page = (uint8_t *)mmap(NULL, size + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        mprotect(page + size, 4096, PROT_NONE);
    }
    memmove(page + size - n, bytes, n);
    return page + size - n;
}
#define BYTES(literal) (literal), sizeof(literal) - 1

static chopin_pg__heap heap;
static chopin_pg__out  out;
static void fresh(void) {
    chopin_pg__heap_init(&heap, NULL, NULL);
    chopin_pg__out_done(&out);
    out = (chopin_pg__out){ .heap = &heap };
}
static bool is(const void *bytes, size_t n) { return out.len == n && memcmp(out.ptr, bytes, n) == 0; }
static int64_t frame(const void *bytes, size_t n, chopin_pg__frame *f) { return chopin_pg__frame_read(guarded(bytes, n), n, 1 << 20, f); }
static chopin_pg__frame body(char type, const void *bytes, size_t n) { return (chopin_pg__frame){ guarded(bytes, n), (uint32_t)n, (uint8_t)type }; }

/* ---- writing ---- */
static void numbers_are_big_endian(void) {
    fresh();
    chopin_pg__put_u8(&out, 0x81);
    chopin_pg__put_u16(&out, 0x0102);
    chopin_pg__put_u32(&out, 0x03040506);
    chopin_pg__put_u64(&out, UINT64_C(0x0708090a0b0c0d0e));
    CHECK(is(BYTES("\x81\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e")));
}
static void a_message_counts_its_own_length(void) {
    fresh();
    chopin_pg__put_text(&out, 'Q', CHOPIN_STR("select 1"));
    CHECK(is(BYTES("Q\0\0\0\x0dselect 1\0")));
    fresh();
    chopin_pg__put_simple(&out, 'S');
    CHECK(is(BYTES("S\0\0\0\x04")));
    fresh();
    chopin_pg__put_named(&out, 'C', 'S', CHOPIN_STR("x"));
    CHECK(is(BYTES("C\0\0\0\x07Sx\0")));
    fresh();
    chopin_pg__put_execute(&out, CHOPIN_STR("p"), 5);
    CHECK(is(BYTES("E\0\0\0\x0ap\0\0\0\0\5")));
    fresh();
    chopin_pg__put_ssl_request(&out);
    CHECK(is(BYTES("\0\0\0\x08\x04\xd2\x16\x2f")));
    fresh();
    chopin_pg__put_cancel(&out, 7, (const uint8_t *)"abcd", 4);
    CHECK(is(BYTES("\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\7abcd")));
}
static void too_long_is_found_before_memory_is_asked_for(void) {
    fresh();
    uint64_t calls = heap.calls;
    chopin_pg__put_bytes(&out, "x", (size_t)1 << 30);          // never read: refused by its length
    CHECK_EQ_INT(out.status, CHOPIN_PG_ARG);
    CHECK(heap.calls == calls);
    if (sizeof(size_t) > 4) {
        fresh();
        chopin_pg__put_bytes(&out, "x", ((size_t)1 << 32) + 8);
        CHECK_EQ_INT(out.status, CHOPIN_PG_ARG);
    }
    fresh();
    out.limit = 10;
    size_t mark = chopin_pg__begin_message(&out, 'd');
    chopin_pg__put_bytes(&out, "1234567", 7);
    CHECK(!chopin_pg__end_message(&out, mark));
    CHECK_EQ_INT(out.status, CHOPIN_PG_ARG);
    size_t len = out.len;
    chopin_pg__put_u32(&out, 1);                              // sticky: nothing is added any more
    CHECK_EQ_INT(out.len, len);
}
static void *no_memory(void *ctx, void *p, size_t old, size_t n) { (void)ctx; (void)old; if (!n) free(p); return NULL; }
static void without_memory_nothing_is_written(void) {
    fresh();
    chopin_pg__heap_init(&heap, no_memory, NULL);
    chopin_pg__put_u32(&out, 1);
    CHECK_EQ_INT(out.status, CHOPIN_PG_MEMORY);
    CHECK_EQ_INT(out.len, 0);
}

/* ---- frames ---- */
static void a_frame_is_whole_or_needs_more(void) {
    chopin_pg__frame f;
    const char whole[] = "Z\0\0\0\5I";
    for (size_t n = 0; n < 6; n++) CHECK_EQ_INT(frame(whole, n, &f), 0);
    CHECK_EQ_INT(frame(whole, 6, &f), 6);
    CHECK(f.type == 'Z' && f.len == 1 && f.body[0] == 'I');
}
static void impossible_lengths_are_fatal(void) {
    chopin_pg__frame f;
    for (int len = 0; len < 4; len++) {
        char bytes[5] = { 'Z', 0, 0, 0, (char)len };
        CHECK(frame(bytes, 5, &f) < 0);
    }
    CHECK(frame(BYTES("D\xff\xff\xff\xff"), &f) < 0);
    CHECK(frame(BYTES("D\x3f\xff\xff\xff"), &f) < 0);          // over max
    CHECK(frame(BYTES("D\x7f\xff\xff\xff"), &f) < 0);
    CHECK_EQ_INT(frame(BYTES("D\0\x0f\0\0"), &f), 0);          // long, but allowed: wait for it
    CHECK(frame(BYTES("Z\0\x0f\0\0"), &f) < 0);                // short by nature
    CHECK(frame(BYTES("C\0\0\x75\x31"), &f) < 0);              // 30 001
    CHECK_EQ_INT(frame(BYTES("C\0\0\x75\x30"), &f), 0);
}
static void unknown_types_are_fatal_at_once(void) {
    chopin_pg__frame f;
    const char *known = "RKvSNAEZ123tTnDCIsGHWdc";
    for (int type = 0; type < 256; type++) {
        char byte = (char)type;
        int64_t rc = frame(&byte, 1, &f);
        CHECK(rc == (type && strchr(known, type) ? 0 : CHOPIN_PG__FRAME_UNKNOWN));
    }
}

/* ---- bodies ---- */
static void ready_has_one_byte_of_three(void) {
    char state = 0;
    chopin_pg__frame f = body('Z', BYTES("T"));
    CHECK(chopin_pg__read_ready(&f, &state) && state == 'T');
    f = body('Z', "", 0);
    CHECK(!chopin_pg__read_ready(&f, &state));
    f = body('Z', BYTES("X"));
    CHECK(!chopin_pg__read_ready(&f, &state));
    f = body('Z', BYTES("\0"));
    CHECK(!chopin_pg__read_ready(&f, &state));
    f = body('Z', BYTES("II"));
    CHECK(!chopin_pg__read_ready(&f, &state));
}
static void tags_give_their_last_number(void) {
    static const struct { const char *tag; int64_t count; } all[] = {
        { "SELECT 7", 7 }, { "INSERT 0 12", 12 }, { "UPDATE 0", 0 }, { "BEGIN", -1 }, { "CREATE TABLE", -1 }, { "COPY 123456789012", 123456789012 }, { "", -1 }, { "7", -1 },
        { "X 9999999999999999999999", -1 }, { "X 1 ", -1 },
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        chopin_str tag;
        int64_t count;
        chopin_pg__frame f = body('C', all[i].tag, strlen(all[i].tag) + 1);
        CHECK(chopin_pg__read_complete(&f, &tag, &count));
        CHECK_EQ_INT(count, all[i].count);
        f = body('C', all[i].tag, strlen(all[i].tag));        // no NUL
        CHECK(!chopin_pg__read_complete(&f, &tag, &count));
    }
    chopin_str tag;
    int64_t count;
    chopin_pg__frame f = body('C', BYTES("A\0B\0"));
    CHECK(!chopin_pg__read_complete(&f, &tag, &count));
}
static void texts_end_inside_their_message(void) {
    chopin_str a, b;
    uint32_t pid;
    chopin_pg__frame f = body('S', BYTES("k\0v\0"));
    CHECK(chopin_pg__read_pair(&f, &a, &b));
    CHECK_STR(b, "v");
    f = body('S', BYTES("k\0v"));
    CHECK(!chopin_pg__read_pair(&f, &a, &b));
    f = body('S', BYTES("k\0v\0x"));
    CHECK(!chopin_pg__read_pair(&f, &a, &b));
    f = body('A', BYTES("\0\0\0\7c\0\0"));                      // an empty payload is legal
    CHECK(chopin_pg__read_notification(&f, &pid, &a, &b) && pid == 7 && b.len == 0);
    f = body('A', BYTES("\0\0\0\7c\0"));
    CHECK(!chopin_pg__read_notification(&f, &pid, &a, &b));
}
static void keys_have_4_to_256_bytes(void) {
    uint32_t pid;
    const uint8_t *key;
    size_t n;
    char bytes[300] = { 0 };
    for (size_t len = 0; len < 300; len++) {
        chopin_pg__frame f = body('K', bytes, len);
        CHECK(chopin_pg__read_key(&f, &pid, &key, &n) == (len >= 8 && len <= 260));
    }
}
static void versions_are_read_in_both_spellings(void) {
    uint32_t v;
    chopin_pg__frame f = body('v', BYTES("\0\3\0\0\0\0\0\0"));
    CHECK(chopin_pg__read_negotiate(&f, &v) && v == 0x30000);
    f = body('v', BYTES("\0\0\0\1\0\0\0\0"));
    CHECK(chopin_pg__read_negotiate(&f, &v) && v == 0x30001);
    f = body('v', BYTES("\0\3\0\0\0\0\0\1x\0"));               // we asked for no option
    CHECK(!chopin_pg__read_negotiate(&f, &v));
    f = body('v', BYTES("\0\3\0\0\0\0\0"));
    CHECK(!chopin_pg__read_negotiate(&f, &v));
}
static void counts_need_their_bytes(void) {
    unsigned columns;
    size_t names;
    const char one[] = "\0\1n\0\0\0\0\1\0\2\0\0\0\x17\0\4\xff\xff\xff\xff\0\0";
    chopin_pg__frame f = body('T', BYTES(one));
    CHECK(chopin_pg__check_fields(&f, &columns, &names) && columns == 1 && names == 1);
    for (size_t n = 0; n < sizeof one - 1; n++) {
        f = body('T', one, n);
        CHECK(!chopin_pg__check_fields(&f, &columns, &names));
    }
    char bad[sizeof one];
    memcpy(bad, one, sizeof one);
    bad[sizeof one - 2] = 7;                                   // format 7
    f = body('T', bad, sizeof one - 1);
    CHECK(!chopin_pg__check_fields(&f, &columns, &names));
    f = body('T', BYTES("\xff\xff" "n\0\0\0\0\1\0\2\0\0\0\x17\0\4\xff\xff\xff\xff\0\0"));
    CHECK(!chopin_pg__check_fields(&f, &columns, &names));
    f = body('T', BYTES("\0\0"));
    CHECK(chopin_pg__check_fields(&f, &columns, &names) && columns == 0);
    f = body('t', BYTES("\0\2\0\0\0\1\0\0\0\2"));
    CHECK_EQ_INT(chopin_pg__check_types(&f), 2);
    f = body('t', BYTES("\0\2\0\0\0\1\0\0\0"));
    CHECK_EQ_INT(chopin_pg__check_types(&f), -1);
    f = body('t', BYTES("\0\1\0\0\0\1\0"));
    CHECK_EQ_INT(chopin_pg__check_types(&f), -1);
}
static void copy_answers_have_formats_0_and_1(void) {
    bool binary;
    chopin_pg__frame f = body('G', BYTES("\1\0\2\0\1\0\1"));
    CHECK(chopin_pg__check_copy(&f, &binary) == 2 && binary);
    f = body('G', BYTES("\0\0\0"));
    CHECK(chopin_pg__check_copy(&f, &binary) == 0 && !binary);
    f = body('G', BYTES("\2\0\0"));
    CHECK(chopin_pg__check_copy(&f, &binary) < 0);
    f = body('G', BYTES("\0\0\1\0\2"));
    CHECK(chopin_pg__check_copy(&f, &binary) < 0);
    f = body('G', BYTES("\0\xff\xff\0\0"));
    CHECK(chopin_pg__check_copy(&f, &binary) < 0);
}
static void rows_fill_their_message_exactly(void) {
    chopin_pg__cell cells[3];
    const char row[] = "\0\3\0\0\0\1a\xff\xff\xff\xff\0\0\0\0";
    uint8_t *p = guarded(BYTES(row));
    CHECK(chopin_pg__read_cells(p, sizeof row - 1, 3, cells));
    CHECK(cells[0].len == 1 && cells[0].ptr[0] == 'a' && cells[1].len == CHOPIN_PG__NULL && cells[2].len == 0);
    for (size_t n = 0; n < sizeof row - 1; n++) CHECK(!chopin_pg__read_cells(guarded(row, n), n, 3, cells));
    CHECK(!chopin_pg__read_cells(guarded(BYTES(row)), sizeof row - 1, 2, cells));
    CHECK(!chopin_pg__read_cells(guarded(BYTES("\0\1\xff\xff\xff\xfe")), 6, 1, cells));      // length -2
    CHECK(!chopin_pg__read_cells(guarded(BYTES("\0\1\x80\0\0\0")), 6, 1, cells));
    CHECK(!chopin_pg__read_cells(guarded(BYTES("\0\1\0\0\0\1aa")), 8, 1, cells));           // one byte too many
    CHECK(chopin_pg__read_cells(guarded(BYTES("\0\0")), 2, 0, cells));
}
static void tuples_of_copy_are_read_the_same_way(void) {
    chopin_pg__cell cells[2];
    const char row[] = "\0\2\0\0\0\1a\xff\xff\xff\xff";
    for (size_t n = 0; n < sizeof row - 1; n++) CHECK_EQ_INT(chopin_pg__tuple_read(guarded(row, n), n, 2, cells), 0);
    CHECK_EQ_INT(chopin_pg__tuple_read(guarded(BYTES(row)), sizeof row - 1, 2, cells), sizeof row - 1);
    CHECK_EQ_INT(chopin_pg__tuple_read(guarded(BYTES("\xff\xff")), 2, 2, cells), -2);
    CHECK_EQ_INT(chopin_pg__tuple_read(guarded(BYTES("\0\3")), 2, 2, cells), -1);
    CHECK_EQ_INT(chopin_pg__tuple_read(guarded(BYTES("\0\2\xff\xff\xff\xfe")), 6, 2, cells), -1);
    CHECK_EQ_INT(chopin_pg__copy_head(guarded(BYTES("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0")), 19), 19);
    CHECK_EQ_INT(chopin_pg__copy_head(guarded(BYTES("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\4")), 19), 0);
    CHECK_EQ_INT(chopin_pg__copy_head(guarded(BYTES("PGCOPY\n\377\r\r\0\0\0\0\0\0\0\0\0")), 19), -1);
    CHECK_EQ_INT(chopin_pg__copy_head(guarded(BYTES("PGCOPY\n\377\r\n\0\0\1\0\0\0\0\0\0")), 19), -1);     // a critical flag we do not know
}
static void random_bytes_never_leave_the_page(void) {
    uint64_t seed = 42;
    chopin_pg__frame f;
    chopin_pg__cell cells[64];
    uint8_t bytes[64];
    for (int i = 0; i < 200000; i++) {
        size_t n = (size_t)(chopin_pg__random_next(&seed) % sizeof bytes);
        for (size_t j = 0; j < n; j += 8) {
            uint64_t word = chopin_pg__random_next(&seed) & chopin_pg__random_next(&seed);
            memcpy(bytes + j, &word, n - j < 8 ? n - j : 8);
        }
        uint8_t *p = guarded(bytes, n);
        unsigned columns; size_t names; bool binary; chopin_str a, b; uint32_t pid; int64_t count; char state;
        chopin_pg__frame_read(p, n, 1 << 20, &f);
        f = (chopin_pg__frame){ p, (uint32_t)n, 'T' };
        chopin_pg__check_fields(&f, &columns, &names);
        chopin_pg__check_types(&f);
        chopin_pg__check_copy(&f, &binary);
        chopin_pg__read_pair(&f, &a, &b);
        chopin_pg__read_notification(&f, &pid, &a, &b);
        chopin_pg__read_complete(&f, &a, &count);
        chopin_pg__read_ready(&f, &state);
        chopin_pg__read_negotiate(&f, &pid);
        for (unsigned c = 0; c < 4; c++) chopin_pg__read_cells(p, n, c, cells);
        chopin_pg__tuple_read(p, n, 2, cells);
        chopin_pg__copy_head(p, n);
    }
    CHECK(true);
}

/* ---- the first word ---- */
static void first_words_are_found_behind_comments(void) {
    static const struct { const char *sql; chopin_pg__gate gate; } all[] = {
        { "select 1", CHOPIN_PG__GATE_OPEN }, { "  BeGiN", CHOPIN_PG__GATE_TX }, { "/* a /* b */ c */commit", CHOPIN_PG__GATE_TX }, { "-- x\n set a = 1", CHOPIN_PG__GATE_SESSION },
        { "((select 1))", CHOPIN_PG__GATE_OPEN }, { "settle", CHOPIN_PG__GATE_OPEN }, { "set_config('a','b',true)", CHOPIN_PG__GATE_OPEN }, { "copy t from stdin", CHOPIN_PG__GATE_COPY },
        { ";;discard all", CHOPIN_PG__GATE_SESSION }, { "", CHOPIN_PG__GATE_OPEN }, { "/* open", CHOPIN_PG__GATE_OPEN }, { "--", CHOPIN_PG__GATE_OPEN }, { "LOCK t", CHOPIN_PG__GATE_TX },
        { "with x as (select 1) select * from x", CHOPIN_PG__GATE_OPEN }, { "--a\r\nlisten x", CHOPIN_PG__GATE_SESSION }, { "/**/end", CHOPIN_PG__GATE_TX },
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        chopin_str sql = { (char *)guarded(all[i].sql, strlen(all[i].sql)), strlen(all[i].sql) };
        if (!CHECK(chopin_pg__sql_gate(chopin_pg__sql_word(sql)) == all[i].gate)) printf("  %s\n", all[i].sql);
    }
}
static void identifiers_are_quoted_or_refused(void) {
    char text[16];
    CHECK_EQ_INT(chopin_pg_ident(CHOPIN_STR("a\"b"), text, sizeof text), 6);
    CHECK(strcmp(text, "\"a\"\"b\"") == 0);
    CHECK(chopin_pg_ident((chopin_str){ "a\0b", 3 }, text, sizeof text) < 0);
    CHECK(chopin_pg_ident(CHOPIN_STR("\xff"), text, sizeof text) < 0);
    CHECK(chopin_pg_ident(CHOPIN_STR("much too long for it"), text, sizeof text) < 0);
    CHECK_EQ_INT(chopin_pg_ident(CHOPIN_STR("0123456789abc"), text, sizeof text), 15);
    CHECK(chopin_pg_ident(CHOPIN_STR("0123456789abcd"), text, sizeof text) < 0);
}
static void the_query_of_a_copy_is_found(void) {
    static const struct { const char *sql, *query; } all[] = {
        { "copy (select 1, ')' as x) to stdout (format binary)", "select 1, ')' as x" }, { "copy t to stdout", "select * from t " }, { "COPY s.\"t to u\" (a, b) TO STDOUT", "select a, b from s.\"t to u\" " },
        { "copy t", "" }, { "copy", "" }, { "copy (select", "" },
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char text[200];
        chopin_str s = chopin_pg__copy_source(chopin_pg__str_z(all[i].sql), text, sizeof text);
        if (!CHECK(chopin_pg__equal_z(s, all[i].query))) printf("  %s: %.*s\n", all[i].sql, CHOPIN_FMT(s));
    }
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    RUN(numbers_are_big_endian);
    RUN(a_message_counts_its_own_length);
    RUN(too_long_is_found_before_memory_is_asked_for);
    RUN(without_memory_nothing_is_written);
    RUN(a_frame_is_whole_or_needs_more);
    RUN(impossible_lengths_are_fatal);
    RUN(unknown_types_are_fatal_at_once);
    RUN(ready_has_one_byte_of_three);
    RUN(tags_give_their_last_number);
    RUN(texts_end_inside_their_message);
    RUN(keys_have_4_to_256_bytes);
    RUN(versions_are_read_in_both_spellings);
    RUN(counts_need_their_bytes);
    RUN(copy_answers_have_formats_0_and_1);
    RUN(rows_fill_their_message_exactly);
    RUN(tuples_of_copy_are_read_the_same_way);
    RUN(random_bytes_never_leave_the_page);
    RUN(first_words_are_found_behind_comments);
    RUN(identifiers_are_quoted_or_refused);
    RUN(the_query_of_a_copy_is_found);
    chopin_pg__out_done(&out);
    return TEST_END();
}
