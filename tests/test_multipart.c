/* test_multipart.c - >>multipart: boundaries, parts in every cut, limits, names of files */
#define CHOPIN_IMPLEMENTATION
#ifndef CHOPIN_HEADER
#define CHOPIN_HEADER "../chopin.h"
#endif
#include CHOPIN_HEADER
#include "test.h"

static chopin__heap  heap = { .alloc = chopin__heap_default };
static _Alignas(16) char block[1 << 16];
static chopin__arena arena;

static chopin_str tight(const char *text, size_t len) {
    static char *copies[64];
    static size_t at;
    char **copy = &copies[at++ % 64];
    free(*copy);
    *copy = malloc(len ? len : 1);
    if (len) memcpy(*copy, text, len);
    return chopin__str(*copy + (len ? 0 : 1), len);
}

/* ---- boundaries ---- */
static int boundary_of(const char *type, chopin_str *boundary) { return chopin__multipart_boundary(tight(type, strlen(type)), boundary); }
#define BOUNDARY(type, want) do { chopin_str b_; CHECK_EQ_INT(boundary_of(type, &b_), 0); CHECK_STR(b_, want); } while (0)
#define FORM "multipart/form-data; "

static void boundaries_of_1_to_70_characters(void) {
    char type[300], text[100];
    chopin_str b;
    memset(text, 'b', sizeof text);
    for (int quoted = 0; quoted < 2; quoted++) {
        for (int n = 0; n < 75; n++) {
            snprintf(type, sizeof type, quoted ? FORM "boundary=\"%.*s\"" : FORM "boundary=%.*s", n, text);
            CHECK_EQ_INT(boundary_of(type, &b), n >= 1 && n <= 70 ? 0 : -400);
            if (n >= 1 && n <= 70) CHECK_EQ_INT(b.len, n);
        }
    }
}

static void boundaries_are_found_among_parameters(void) {
    chopin_str b;
    BOUNDARY(FORM "boundary=x", "x");
    BOUNDARY("Multipart/Form-Data;BOUNDARY=x", "x");
    BOUNDARY(FORM "charset=utf-8; boundary=x", "x");
    BOUNDARY(FORM "boundary=x; charset=\"utf-8; boundary=y\"", "x");
    BOUNDARY(FORM "xboundary=z; boundary=x;", "x");
    BOUNDARY(FORM ";; boundary=x ; ", "x");
    BOUNDARY(FORM "boundary = x", "x");
    BOUNDARY(FORM "boundary=\"a b\"", "a b");
    BOUNDARY(FORM "boundary=\"'()+_,-./:=?\"", "'()+_,-./:=?");
    BOUNDARY(FORM "boundary=----=_Part_1:2/3(4)?", "----=_Part_1:2/3(4)?");                 // without the quotes it ought to have
    BOUNDARY(FORM "boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW", "----WebKitFormBoundary7MA4YWxkTrZu0gW");
    static const char *bad[] = { FORM, FORM "boundary", FORM "boundary=", FORM "boundary=\"\"", FORM "boundary=a b", FORM "boundary=\"a ", FORM "boundary=\"a \"", FORM "boundary=\"a\"b",
        FORM "boundary=a; boundary=b", FORM "boundary=a; boundary=a", FORM "boundary=a,multipart/form-data;boundary=b", FORM "boundary=\"a\\b\"", FORM "boundary=\"a\tb\"",
        FORM "boundary=\"a*\"", FORM "boundary=a*", FORM "boundary=\xc3\xa9", FORM "boundary=x; =y", FORM "boundary=x; y", FORM "charset=x", "multipart/form-data", "multipart/form-data boundary=x" };
    for (size_t i = 0; i < CHOPIN__COUNT(bad); i++) {
        int rc = boundary_of(bad[i], &b);
        if (!CHECK(rc == -400 || i + 1 == CHOPIN__COUNT(bad))) printf("  %s\n", bad[i]);
    }
    CHECK_EQ_INT(boundary_of("multipart/mixed; boundary=x", &b), -415);
    CHECK_EQ_INT(boundary_of("text/plain; x=\"multipart/form-data; boundary=x\"", &b), -415);
    CHECK_EQ_INT(boundary_of("multipart/form-data boundary=x", &b), -415);
    CHECK_EQ_INT(boundary_of("", &b), -415);
    CHECK_EQ_INT(chopin__multipart_boundary(chopin__absent(), &b), -415);
}

/* ---- what the reader makes of a body: [name|filename|extended|safe|type]data! for each part, END, and the verdict ---- */
typedef struct { char text[1 << 17]; size_t len; } transcript;
static transcript whole, other;
static const chopin__multipart_rules usual = { 100, 2000, 255, 1 << 16, 1 << 16, 1 << 20 };
static chopin__multipart_rules rules;
static const char *boundary = "b";
static chopin__multipart m;

static void note(transcript *t, chopin_str s) {
    size_t n = chopin__min(s.len, sizeof t->text - t->len);
    if (n) memcpy(t->text + t->len, s.ptr, n);
    t->len += n;
}
static void note_z(transcript *t, const char *text) { note(t, chopin__str_z(text)); }

static void note_part(transcript *t, const chopin__multipart_part *p) {
    const chopin_str texts[] = { p->name, p->filename, p->extended, p->safe_name, p->type };
    CHECK(p->file == (p->safe_name.ptr != NULL) && (!p->filename.ptr || p->file));
    for (size_t i = 0; i < 5; i++) {
        note_z(t, i ? "|" : "[");
        if (texts[i].ptr) note(t, texts[i]); else note_z(t, "-");
    }
    note_z(t, "]");
}

static int  last_event;
static bool views_are_ours;             // every view lay in the piece or in the delimiter, and none came where none may

static int feed(transcript *t, const char *bytes, size_t len) {
    char *copy = calloc(1, len ? len : 1);
    chopin_str in = chopin__str(copy, len), data;
    int rc;
    if (len) memcpy(copy, bytes, len);
    while ((rc = chopin__multipart_next(&m, &in, &data)) > 0) {
        bool inside = last_event == CHOPIN__MULTIPART_PART || last_event == CHOPIN__MULTIPART_DATA;
        CHECK(rc == CHOPIN__MULTIPART_DATA || rc == CHOPIN__MULTIPART_PART_END ? inside : !inside);
        CHECK(last_event != CHOPIN__MULTIPART_END);
        last_event = rc;
        if (rc == CHOPIN__MULTIPART_PART)     note_part(t, &m.part);
        if (rc == CHOPIN__MULTIPART_PART_END) note_z(t, "!");
        if (rc == CHOPIN__MULTIPART_END)      note_z(t, "END");
        if (rc != CHOPIN__MULTIPART_DATA) { CHECK(!data.ptr); continue; }
        bool fed = data.ptr >= copy && data.ptr + data.len <= copy + len, held = data.ptr >= m.delimiter && data.ptr + data.len <= m.delimiter + sizeof m.delimiter;
        views_are_ours &= data.len > 0 && (fed || held);
        note(t, data);
    }
    CHECK(rc < 0 || in.len == 0);
    free(copy);
    return rc;
}

static void play_cut(transcript *t, chopin_str body, size_t first, size_t step) {
    char line[128];
    int  rc;
    chopin__arena_init(&arena, &heap, block, sizeof block, 0);
    t->len = 0;
    last_event = 0;
    CHECK(chopin__multipart_init(&m, &rules, chopin__str_z(boundary), &arena));
    rc = feed(t, body.ptr, chopin__min(first, body.len));
    for (size_t at = first; rc == 0 && at < body.len; at += step) rc = feed(t, body.ptr + at, chopin__min(step, body.len - at));
    if (rc == 0) rc = chopin__multipart_finish(&m);
    CHECK((rc < 0) == (m.why != NULL) && m.failed == rc);
    chopin_str more = CHOPIN_STR("--b\r\n"), data;
    if (rc < 0) CHECK_EQ_INT(chopin__multipart_next(&m, &more, &data), rc);                 // a verdict stays
    snprintf(line, sizeof line, " %d %s", -rc, m.why ? m.why : "");
    note_z(t, line);
}

/* Plays a body whole, in pieces of 1, 2, 3 and 7 bytes, and cut in two and in three everywhere: always the same. */
static chopin_str play(chopin_str body) {
    static const size_t steps[] = { 1, 2, 3, 7 };
    views_are_ours = true;
    play_cut(&whole, body, body.len, 1);
    for (size_t i = 0; i < 4; i++) {
        play_cut(&other, body, 0, steps[i]);
        if (!CHECK(other.len == whole.len && memcmp(other.text, whole.text, whole.len) == 0)) printf("  step %zu: %.*s\n", steps[i], (int)chopin__min(other.len, 300), other.text);
    }
    for (size_t cut = 1; cut < chopin__min(body.len, 700); cut++) {
        play_cut(&other, body, cut, cut % 2 ? body.len : 5 + cut % 11);
        if (!CHECK(other.len == whole.len && memcmp(other.text, whole.text, whole.len) == 0)) printf("  cut %zu: %.*s\n", cut, (int)chopin__min(other.len, 300), other.text);
    }
    CHECK(views_are_ours);
    return chopin__str(whole.text, whole.len);
}
#define PLAY(body, want) do { chopin_str got_ = play(CHOPIN_STR(body)); CHECK_STR(got_, want); } while (0)

#define NL "\r\n"
#define CD "Content-Disposition: form-data; "
#define A  CD "name=\"a\"" NL NL

static void multipart_matrix(void) {
    PLAY("--b" NL A "one" NL "--b" NL CD "name=c; filename=\"d.txt\"" NL "Content-Type: text/x" NL NL "two" NL "--b--" NL, "[a|-|-|-|-]one![c|d.txt|-|d.txt|text/x]two!END 0 ");
    PLAY("--b" NL A NL "--b--" NL, "[a|-|-|-|-]!END 0 ");                                   // an empty part ...
    PLAY("--b" NL A "--b--" NL, "[a|-|-|-|-]!END 0 ");                                      // ... whose line end is the head's
    PLAY("--b" NL A "-x" NL "--b--", "[a|-|-|-|-]-x!END 0 ");
    PLAY("--b" NL A NL NL "--b--", "[a|-|-|-|-]\r\n!END 0 ");
    PLAY("--b--", "END 0 ");                                                                // no part at all: an empty form
    PLAY("--b--" NL, "END 0 ");
    PLAY("preamble" NL "with lines --b" NL "-" NL NL "--b" NL A "x" NL "--b--" NL "epilogue" NL "--b" NL "--b--", "[a|-|-|-|-]x!END 0 ");
    PLAY(NL "--b" NL A "x" NL "--b--", "[a|-|-|-|-]x!END 0 ");
    PLAY("--b \t  " NL A "x" NL "--b\t" NL A "y" NL "--b-- \t whatever", "[a|-|-|-|-]x![a|-|-|-|-]y!END 0 ");
    PLAY("--b" NL A "x" NL "--b--\n", "[a|-|-|-|-]x!END 0 ");
}

static void the_boundary_inside_data_is_data(void) {
    PLAY("--b" NL A "x--b--y --b" NL "-b-- --" NL NL "--" NL "-" NL "\r\r\n--\r\n-\n--b\r--b\n" NL "--b--",
         "[a|-|-|-|-]x--b--y --b" NL "-b-- --" NL NL "--" NL "-" NL "\r\r\n--\r\n-\n--b\r--b\n!END 0 ");
    boundary = "----WebKit-x";
    PLAY("------WebKit-x" NL A "\r\n------WebKit-\r\n------WebKit-y\r\n------\r\n------WebKit\r\r\n------WebKit-x" NL A "mid ------WebKit-x line" NL "------WebKit-x--",
         "[a|-|-|-|-]\r\n------WebKit-\r\n------WebKit-y\r\n------\r\n------WebKit\r![a|-|-|-|-]mid ------WebKit-x line!END 0 ");
    boundary = "a b";
    PLAY("--a b" NL A "x\r\n--a\r\n--a c" NL "--a b--", "[a|-|-|-|-]x\r\n--a\r\n--a c!END 0 ");
    boundary = "-";
    PLAY("---" NL A "x\r\n--\r\n-" NL "-----", "[a|-|-|-|-]x\r\n--\r\n-!END 0 ");
    boundary = "1234567890123456789012345678901234567890123456789012345678901234567890";     // 70
    PLAY("--1234567890123456789012345678901234567890123456789012345678901234567890" NL A "x\r\n--123456789012345678901234567890123456789012345678901234567890123456789x"
         NL "--1234567890123456789012345678901234567890123456789012345678901234567890--",
         "[a|-|-|-|-]x\r\n--123456789012345678901234567890123456789012345678901234567890123456789x!END 0 ");
    boundary = "b";
}

static void what_is_missing_is_missed(void) {
    static const char all[] = "--b" NL A "one" NL "--b" NL A "two" NL "--b--";
    for (size_t n = 0; n < sizeof all - 1; n++) {                                            // every true beginning is too short
        chopin_str part = play(tight(all, n));
        CHECK(part.len >= 49 && memcmp(part.ptr + part.len - 49, " 400 multipart body ends before its last boundary", 49) == 0);
    }
    chopin_str got = play(chopin__str(all, sizeof all - 1));
    CHECK_STR(got, "[a|-|-|-|-]one![a|-|-|-|-]two!END 0 ");
    PLAY("no boundary here", " 400 multipart body ends before its last boundary");
}

static void boundary_lines_hold_nothing_else(void) {
    PLAY("--bx" NL A "x" NL "--b--", " 400 malformed boundary line");
    PLAY("--b" NL A "x" NL "--bb" NL, "[a|-|-|-|-]x! 400 malformed boundary line");
    PLAY("--b x" NL, " 400 malformed boundary line");
    PLAY("--b\n" A, " 400 malformed boundary line");
    PLAY("--b\r\r\n", " 400 malformed boundary line");
    PLAY("--b -" NL, " 400 malformed boundary line");
    PLAY("--b-" NL, " 400 malformed boundary line");
    PLAY("--b-x", " 400 malformed boundary line");
    PLAY("--b- -", " 400 malformed boundary line");
}

static void every_name_is_delivered(void) {
    PLAY("--b" NL CD "name=\"a\"; filename=\"name=\\\"x\\\".txt\"" NL NL NL "--b--", "[a|name=\"x\".txt|-|name=_x_.txt|-]!END 0 ");
    PLAY("--b" NL CD "filename=\"; name=x; .txt\"; name=\"real\"" NL NL NL "--b--", "[real|; name=x; .txt|-|; name=x; .txt|-]!END 0 ");
    PLAY("--b" NL CD "filename=\"name=%22x%22\"; name=\"a\"" NL NL NL "--b--", "[a|name=%22x%22|-|name=%22x%22|-]!END 0 ");
    PLAY("--b" NL CD "name=\"\xe9\xe8\"; filename=\"caf\xe9.txt\"" NL NL NL "--b--", "[\xe9\xe8|caf\xe9.txt|-|caf_.txt|-]!END 0 ");       // Latin-1
    PLAY("--b" NL CD "name=\"\xc3\xa9\"; filename=\"caf\xc3\xa9.txt\"" NL NL NL "--b--", "[\xc3\xa9|caf\xc3\xa9.txt|-|caf\xc3\xa9.txt|-]!END 0 ");
    PLAY("--b" NL "X: \xe9\x01\x7f" NL CD "name=a" NL NL NL "--b--", "[a|-|-|-|-]!END 0 ");
    PLAY("--b" NL CD "name=\"a\"; filename=\"C:\\dir\\x.txt\"" NL NL NL "--b--", "[a|C:\\dir\\x.txt|-|x.txt|-]!END 0 ");
    PLAY("--b" NL CD "name=\"a\"; filename=\"C:\\\\dir\\\\x.txt\"" NL NL NL "--b--", "[a|C:\\dir\\x.txt|-|x.txt|-]!END 0 ");
    PLAY("--b" NL CD "name=\"a\"; filename=\"odd\\\"" NL NL NL "--b--", "[a|odd\\|-|upload|-]!END 0 ");
    PLAY("--b" NL CD "name=\"a\"; filename=\"../../etc/passwd\"" NL NL NL "--b--", "[a|../../etc/passwd|-|passwd|-]!END 0 ");
    PLAY("--b" NL CD "name=\"\"; filename=\"\"" NL NL NL "--b--", "[||-|upload|-]!END 0 ");
    PLAY("--b" NL "content-DISPOSITION:FORM-data;NAME=a;FileName=x\t" NL NL NL "--b--", "[a|x|-|x|-]!END 0 ");
    PLAY("--b" NL CD "name=\"a\\\\b\\\"c\\d\";" NL NL NL "--b--", "[a\\b\"c\\d|-|-|-|-]!END 0 ");
}

static void decoded_texts_do_not_overlap(void) {
    PLAY("--b" NL CD "name=\"n\\\"1\"; filename=\"f\\\"2\"; filename*=UTF-8''e%20%33" NL NL NL "--b--", "[n\"1|f\"2|e 3|f_2|-]!END 0 ");
    PLAY("--b" NL CD "filename*=UTF-8''e%20%33; filename=\"f\\\"2\"; name=\"n\\\"1\"" NL NL NL "--b--", "[n\"1|f\"2|e 3|f_2|-]!END 0 ");
}

static void filename_star_comes_second(void) {
    PLAY("--b" NL CD "name=a; filename=x.txt; filename*=UTF-8''%e2%82%ac.txt" NL NL NL "--b--", "[a|x.txt|\xe2\x82\xac.txt|x.txt|-]!END 0 ");
    PLAY("--b" NL CD "name=a; filename*=utf-8'en'%e2%82%ac%20rates.txt" NL NL NL "--b--", "[a|-|\xe2\x82\xac rates.txt|\xe2\x82\xac rates.txt|-]!END 0 ");
    PLAY("--b" NL CD "name=a; filename*=UTF-8''..%2f..%2Fx" NL NL NL "--b--", "[a|-|../../x|x|-]!END 0 ");
    PLAY("--b" NL CD "name=a; filename*=UTF-8''" NL NL NL "--b--", "[a|-||upload|-]!END 0 ");
    static const char *nonsense[] = { "x", "UTF-8'x", "UTF-8''%zz", "UTF-8''%4", "UTF-8''%", "UTF-8''a%00b", "UTF-8''%0d%0a", "UTF-8''%7f", "UTF-8''%ff", "UTF-8''%e2%82", "UTF-8''%ed%a0%80",
                                      "ISO-8859-1''%e9", "''x", "UTF-8''a'b", "UTF-8''a*b", "\"UTF-8''x\"", "UTF-8''\xc3\xa9", "UTF-8''(x)", "UTF-16''x" };
    for (size_t i = 0; i < CHOPIN__COUNT(nonsense); i++) {
        char body[300];
        int  n = snprintf(body, sizeof body, "--b" NL CD "name=a; filename*=%s" NL NL "x" NL "--b--", nonsense[i]);
        chopin_str got = play(tight(body, (size_t)n));
        CHECK_STR(got, "[a|-|-|upload|-]x!END 0 ");
    }
}

static void ambiguous_and_malformed_heads_are_refused(void) {
    PLAY("--b" NL CD "name=a; name=b" NL NL, " 400 parameter of a part comes twice");
    PLAY("--b" NL CD "name=a; NAME=\"a\"" NL NL, " 400 parameter of a part comes twice");
    PLAY("--b" NL CD "name=a; filename=x; filename=y" NL NL, " 400 parameter of a part comes twice");
    PLAY("--b" NL CD "name=a; filename*=nonsense; filename*=UTF-8''y" NL NL, " 400 parameter of a part comes twice");
    PLAY("--b" NL A CD, "[a|-|-|-|-]" CD " 400 multipart body ends before its last boundary");
    PLAY("--b" NL CD "name=a" NL CD "name=a" NL NL, " 400 header of a part comes twice");
    PLAY("--b" NL "Content-Type: a/b" NL CD "name=a" NL "content-type: a/b" NL NL, " 400 header of a part comes twice");
    PLAY("--b" NL NL "x" NL "--b--", " 400 part is not form-data");
    PLAY("--b" NL "Content-Type: a/b" NL NL, " 400 part is not form-data");
    PLAY("--b" NL "Content-Disposition: attachment; name=a" NL NL, " 400 part is not form-data");
    PLAY("--b" NL "Content-Disposition: form-data" NL NL, " 400 part without a name");
    PLAY("--b" NL CD "filename=x" NL NL, " 400 part without a name");
    PLAY("--b" NL CD "name=" NL NL, " 400 malformed Content-Disposition of a part");
    PLAY("--b" NL CD "name" NL NL, " 400 malformed Content-Disposition of a part");
    PLAY("--b" NL CD "name=\"a" NL NL, " 400 malformed Content-Disposition of a part");
    PLAY("--b" NL CD "name=\"a\"b" NL NL, " 400 malformed Content-Disposition of a part");
    PLAY("--b" NL CD "name=\"a\" filename=\"b\"" NL NL, " 400 malformed Content-Disposition of a part");
    PLAY("--b" NL CD "name=a b" NL NL, " 400 malformed Content-Disposition of a part");
    PLAY("--b" NL "no colon" NL NL, " 400 malformed header of a part");
    PLAY("--b" NL ": x" NL NL, " 400 malformed header of a part");
    PLAY("--b" NL "Content-Disposition : form-data; name=a" NL NL, " 400 malformed header of a part");
    PLAY("--b" NL CD NL " name=a" NL NL, " 400 malformed header of a part");                 // folded
    PLAY("--b" NL CD "name=a\n\n", " 400 line of a part's head does not end with CRLF");
    PLAY("--b" NL CD "name=a\rb" NL NL, " 400 line of a part's head does not end with CRLF");
    PLAY("--b" NL CD "name=\"a\0b\"" NL NL, " 400 NUL in the head of a part");
    PLAY("--b" NL CD "name=a; filename=\"x.php\0.png\"" NL NL, " 400 NUL in the head of a part");
}

static void other_headers_are_found(void) {
    chopin_str in = CHOPIN_STR("--b" NL "X-One:  first \t" NL CD "name=a" NL "x-one: second" NL "Content-Transfer-Encoding: binary" NL "Empty:" NL NL), data;
    chopin__arena_init(&arena, &heap, block, sizeof block, 0);
    CHECK(chopin__multipart_init(&m, &rules, CHOPIN_STR("b"), &arena));
    CHECK_EQ_INT(chopin__multipart_next(&m, &in, &data), CHOPIN__MULTIPART_PART);
    CHECK_STR(chopin__multipart_header(&m.part, "x-ONE"), "first");
    CHECK_STR(chopin__multipart_header(&m.part, "content-transfer-encoding"), "binary");
    CHECK_STR(chopin__multipart_header(&m.part, "content-disposition"), "form-data; name=a");
    CHECK_STR(chopin__multipart_header(&m.part, "empty"), "");
    CHECK(!chopin__multipart_header(&m.part, "x-on").ptr && !chopin__multipart_header(&m.part, "").ptr);
}

/* ---- limits ---- */
static void multipart_caps(void) {
    rules.max_parts = 2;
    PLAY("--b" NL A NL "--b" NL A NL "--b--", "[a|-|-|-|-]![a|-|-|-|-]!END 0 ");
    PLAY("--b" NL A NL "--b" NL A NL "--b" NL A, "[a|-|-|-|-]![a|-|-|-|-]! 413 too many parts (raise chopin_options.max_parts)");
    rules.max_parts = 0;
    PLAY("--b--", "END 0 ");
    PLAY("--b" NL, " 413 too many parts (raise chopin_options.max_parts)");
    rules = usual;
    rules.max_part_name = 5;
    PLAY("--b" NL CD "name=\"12345\"" NL NL NL "--b--", "[12345|-|-|-|-]!END 0 ");
    PLAY("--b" NL CD "name=\"1\\\"34\\\"\"" NL NL NL "--b--", "[1\"34\"|-|-|-|-]!END 0 ");
    PLAY("--b" NL CD "name=\"123456\"" NL NL NL "--b--", " 413 name of a part too long (raise chopin_options.max_part_name)");
    rules = usual;
    rules.max_part_head = sizeof A - 1;
    PLAY("--b" NL A "x" NL "--b--", "[a|-|-|-|-]x!END 0 ");
    rules.max_part_head--;
    PLAY("--b" NL A "x" NL "--b--", " 413 head of a part too large (raise chopin_options.max_part_head)");
    rules.max_part_head = 60;
    PLAY("--b                                                             " NL A "x" NL "--b--", " 413 head of a part too large (raise chopin_options.max_part_head)");
    PLAY("--b                                                            " NL A "x" NL "--b--", "[a|-|-|-|-]x!END 0 ");
    rules = usual;
}

static void field_file_and_total_have_their_own_limits(void) {
    rules.max_field = 3;
    PLAY("--b" NL A "123" NL "--b" NL A "456" NL "--b--", "[a|-|-|-|-]123![a|-|-|-|-]456!END 0 ");
    PLAY("--b" NL A "1234" NL "--b--", "[a|-|-|-|-]123 413 field too large (raise chopin_options.max_field)");
    PLAY("--b" NL A "12" NL "-" NL "--b--", "[a|-|-|-|-]12\r 413 field too large (raise chopin_options.max_field)");
    PLAY("--b" NL CD "name=a; filename=x" NL NL "123456789" NL "--b--", "[a|x|-|x|-]123456789!END 0 ");
    rules.max_field = 0;
    PLAY("--b" NL A NL "--b--", "[a|-|-|-|-]!END 0 ");
    PLAY("--b" NL A "1" NL "--b--", "[a|-|-|-|-] 413 field too large (raise chopin_options.max_field)");
    PLAY("--b" NL A "--x" NL "--b--", "[a|-|-|-|-] 413 field too large (raise chopin_options.max_field)");
    rules = usual;
    rules.max_file = 5;
    PLAY("--b" NL CD "name=a; filename*=nonsense" NL NL "12345" NL "--b--", "[a|-|-|upload|-]12345!END 0 ");
    PLAY("--b" NL CD "name=a; filename=x" NL NL "123456" NL "--b--", "[a|x|-|x|-]12345 413 file too large (raise chopin_options.max_file)");
    rules = usual;
    rules.max_total = sizeof("--b" NL A "12345" NL "--b--") - 1;
    PLAY("--b" NL A "12345" NL "--b--", "[a|-|-|-|-]12345!END 0 ");
    PLAY("--b" NL A "12345" NL "--b--x", "[a|-|-|-|-]12345!END 413 body too large (raise chopin_options.max_body or the route's)");
    PLAY("--b" NL A "123456" NL "--b--", "[a|-|-|-|-]123456! 413 body too large (raise chopin_options.max_body or the route's)");
    PLAY("this is a very long preamble, and nothing but a preamble ever comes" NL, " 413 body too large (raise chopin_options.max_body or the route's)");
    rules = usual;
}

static void long_names_stay_within_the_head(void) {
    static char body[70000];
    memset(body, 'x', sizeof body);
    int n = snprintf(body, sizeof body, "--b" NL CD "name=a; filename=\"");
    body[n] = 'x';
    play_cut(&whole, chopin__str(body, sizeof body), sizeof body, 1);
    CHECK_STR(chopin__str(whole.text, whole.len), " 413 head of a part too large (raise chopin_options.max_part_head)");
    char line[1500];
    memset(line, 'y', sizeof line);
    n = snprintf(body, sizeof body, "--b" NL CD "name=a; filename=\"%.1400s\"; filename*=UTF-8''%.400s" NL NL NL "--b--", line, line);
    play_cut(&whole, chopin__str(body, (size_t)n), 10, 1);
    CHECK_EQ_INT(whole.len, 1 + 1 + 1 + 1400 + 1 + 400 + 1 + 255 + 1 + 1 + 1 + 1 + 3 + 3);
}

static void hostile_bodies_take_linear_time(void) {
    enum { N = 1 << 20 };
    static const char *const patterns[] = { "\r", "\r\n", "\r\n--", "\r\n--bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "\r\n--bbbbb\r" };
    char *body = malloc(N);
    boundary = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";                       // 69, and an "x" never comes
    rules.max_field = rules.max_total = UINT64_MAX;
    int64_t begin = chopin__clock_us();
    for (size_t i = 0; i < CHOPIN__COUNT(patterns); i++) {
        static const size_t steps[] = { 1, 100, N };
        size_t len = strlen(patterns[i]) - (i == 3), head = (size_t)snprintf(body, N, "--%s" NL A, boundary);
        for (size_t at = head; at < N; at++) body[at] = patterns[i][(at - head) % len];
        for (size_t k = 0; k < 3; k++) {
            size_t bytes = 0, events = 0;
            chopin__arena_init(&arena, &heap, block, sizeof block, 0);
            CHECK(chopin__multipart_init(&m, &rules, chopin__str_z(boundary), &arena));
            for (size_t at = 0; at < N; at += steps[k]) {
                chopin_str in = chopin__str(body + at, chopin__min(steps[k], N - at)), data;
                while (chopin__multipart_next(&m, &in, &data) > 0) { bytes += data.len; events++; }
            }
            CHECK(m.failed == 0 && bytes + m.matched - m.assumed == N - head);
            CHECK(events <= 2 * (N / steps[k]) + 3);                                             // a lone CR makes no event of its own
        }
    }
    CHECK(chopin__clock_us() - begin < 10000000);                                              // under emulators, too
    free(body);
    boundary = "b";
    rules = usual;
}

static void memory_is_taken_once(void) {
    chopin__arena_init(&arena, &heap, block, 100, 0);
    CHECK(!chopin__multipart_init(&m, &rules, CHOPIN_STR("b"), &arena) && arena.full);
    chopin__arena_init(&arena, &heap, block, sizeof block, 0);
    CHECK(chopin__multipart_init(&m, &rules, CHOPIN_STR("b"), &arena));
    char *at = arena.at;
    for (int i = 0; i < 50; i++) {
        chopin_str in = CHOPIN_STR(NL "--b" NL CD "name=a; filename=\"\\\"\"; filename*=UTF-8''x" NL NL "data"), data;
        int rc;
        while ((rc = chopin__multipart_next(&m, &in, &data)) > 0) continue;
        CHECK_EQ_INT(rc, 0);
    }
    CHECK(arena.at == at && !arena.blocks);
}

/* ---- names of files ---- */
static chopin_str safe(const char *raw, size_t len) {
    static char out[CHOPIN__MULTIPART_SAFE_MAX + 1];
    size_t n = chopin__multipart_safe_name(out, tight(raw, len));
    CHECK(n > 0 && n <= CHOPIN__MULTIPART_SAFE_MAX && out[n] == 0 && strlen(out) == n);
    return chopin__str(out, n);
}
#define SAFE(raw, want) do { chopin_str got_ = safe(raw, sizeof(raw) - 1); CHECK_STR(got_, want); } while (0)

static void names_stay_in_the_folder(void) {
    SAFE("x.txt", "x.txt");
    SAFE("../../x", "x");
    SAFE("C:\\dir\\x", "x");
    SAFE("C:x", "C_x");
    SAFE("/etc/passwd", "passwd");
    SAFE("a/b\\c/d\\e", "e");
    SAFE("..", "upload");
    SAFE(".", "upload");
    SAFE("...", "upload");
    SAFE("", "upload");
    SAFE("   ", "upload");
    SAFE("dir/", "upload");
    SAFE("dir\\", "upload");
    SAFE("x/..", "upload");
    SAFE(".htaccess", "htaccess");
    SAFE(". .. .x", "x");
    SAFE("x. . ", "x");
    SAFE("x.txt:stream", "x.txt_stream");
    SAFE("a b  c.txt", "a b  c.txt");
    SAFE("a\0b", "a_b");
    SAFE("a\r\nb\x1b[31m\x7f\t", "a__b_[31m__");
    SAFE("<a>|\"b\"?*", "_a___b___");
    SAFE("\x01.ssh", "_.ssh");
}

static void names_are_utf8_of_bounded_length(void) {
    char text[2000], want[300];
    SAFE("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
    SAFE("caf\xe9", "caf_");
    SAFE("\xc0\xaf\xed\xa0\x80", "_____");
    SAFE("a\xe2\x82", "a__");
    SAFE("a\xc2\x85\xc2\x9f\xc2\xa0", "a__\xc2\xa0");                                             // C1 controls
    SAFE("exe.\xe2\x80\xaegnp.txt", "exe._gnp.txt");                                              // written backwards
    SAFE("\xe2\x80\x8e\xe2\x80\x8f\xe2\x80\xa8\xe2\x81\xa6\xe2\x81\xa9\xe2\x80\x8d", "_____\xe2\x80\x8d");
    memset(text, 'x', sizeof text);
    CHECK_EQ_INT(safe(text, sizeof text).len, 255);
    for (size_t i = 0; i < sizeof text - 1; i += 2) memcpy(text + i, "\xc3\xa9", 2);
    CHECK_EQ_INT(safe(text, sizeof text).len, 254);
    CHECK_EQ_INT(safe("x", 1).len, 1);
    text[0] = 'x'; text[1] = 'y';
    CHECK_EQ_INT(safe(text, sizeof text).len, 254);
    memset(text, 'x', 254);
    memcpy(text + 254, "\xe2\x82\xac", 3);
    memcpy(want, text, 254); want[254] = 0;
    CHECK_STR(safe(text, 257), want);
    memset(text, '.', sizeof text);
    CHECK_STR(safe(text, sizeof text), "upload");
    text[0] = 'a';
    CHECK_STR(safe(text, sizeof text), "a");
}

static void devices_lose_their_letter(void) {
    SAFE("CON", "_ON");
    SAFE("con.txt", "_on.txt");
    SAFE("nul .tar.gz", "_ul .tar.gz");
    SAFE("Aux.", "_ux");
    SAFE("PRN", "_RN");
    SAFE("com1", "_om1");
    SAFE("LPT9.log", "_PT9.log");
    SAFE("conin$", "_onin$");
    SAFE("CONOUT$.x", "_ONOUT$.x");
    SAFE("/dev/nul", "_ul");
    SAFE("console", "console");
    SAFE("com", "com");
    SAFE("com10", "com10");
    SAFE("comx", "comx");
    SAFE("x.con", "x.con");
}

int main(int argc, char **argv) {
    TEST_ONLY(argc, argv);
    rules = usual;
    RUN(boundaries_of_1_to_70_characters);
    RUN(boundaries_are_found_among_parameters);
    RUN(multipart_matrix);
    RUN(the_boundary_inside_data_is_data);
    RUN(what_is_missing_is_missed);
    RUN(boundary_lines_hold_nothing_else);
    RUN(every_name_is_delivered);
    RUN(decoded_texts_do_not_overlap);
    RUN(filename_star_comes_second);
    RUN(ambiguous_and_malformed_heads_are_refused);
    RUN(other_headers_are_found);
    RUN(multipart_caps);
    RUN(field_file_and_total_have_their_own_limits);
    RUN(long_names_stay_within_the_head);
    RUN(hostile_bodies_take_linear_time);
    RUN(memory_is_taken_once);
    RUN(names_stay_in_the_folder);
    RUN(names_are_utf8_of_bounded_length);
    RUN(devices_lose_their_letter);
    return TEST_END();
}
