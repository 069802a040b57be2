/* fuzz_files.c - libFuzzer over what strangers write into Range, If-*, Accept-Encoding and paths, and over names for Content-Disposition and listings
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined tests/fuzz_files.c -o fuzz_files && ./fuzz_files -max_total_time=60
 *
 * The first byte chooses the reader; beyond memory errors it checks what must hold for any input. Paths are opened below a folder of the system by both ways. */
#define CHOPIN_IMPLEMENTATION
#ifndef CHOPIN_HEADER
#define CHOPIN_HEADER "../chopin.h"
#endif
#include CHOPIN_HEADER

#define MUST(condition) do { if (!(condition)) { fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); abort(); } } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The file's size, then Range: what is given exists, does not overlap, is no more than was allowed. */
static void fuzz_range(chopin_str s) {
    chopin__range list[16];
    uint64_t size = 0, sum = 0;
    unsigned count, max;
    if (s.len < 9) return;
    memcpy(&size, s.ptr, 8);
    size &= INT64_MAX;
    if (size >> 60 == 1) size &= 127;                               // small ones, too
    max = 1 + (unsigned char)s.ptr[8] % 16;
    int status = chopin__range_parse(chopin__str(s.ptr + 9, s.len - 9), size, max, list, &count);
    MUST(count <= max && (count > 0) == (status == 206) && (status == 200 || status == 206 || status == 416));
    for (unsigned i = 0; i < count; i++) {
        MUST(list[i].len > 0 && list[i].at < size && list[i].len <= size - list[i].at);
        for (unsigned k = 0; k < i; k++) MUST(list[k].at + list[k].len <= list[i].at || list[i].at + list[i].len <= list[k].at);
        sum += list[i].len;
        char text[80];
        MUST(chopin__put_content_range(text, &list[i], size) - text <= 70);
    }
    MUST(sum <= size);
}

/* One line per header. A 412 or a 304 has its reason. */
static void fuzz_conditions(chopin_str s, chopin__arena *a) {
    static const unsigned ids[] = { CHOPIN_H_IF_MATCH, CHOPIN_H_IF_NONE_MATCH, CHOPIN_H_IF_MODIFIED_SINCE, CHOPIN_H_IF_UNMODIFIED_SINCE, CHOPIN_H_IF_RANGE, CHOPIN_H_RANGE };
    chopin__file_request r = { .method = s.len & 1 ? CHOPIN_STR("GET") : CHOPIN_STR("PUT"), .now_s = 1700000000 };
    chopin__validators   v = { CHOPIN_STR("\"abc\""), 784111777, true };
    chopin__range list[16];
    unsigned count;
    while (s.len) {
        chopin_str line = chopin__cut(&s, '\n');
        if (line.len && !chopin__file_request_add(&r, ids[(unsigned char)line.ptr[0] % CHOPIN__COUNT(ids)], chopin__str(line.ptr + 1, line.len - 1), a)) return;
    }
    int status = chopin__file_verdict(&r, &v, 1000, 16, list, &count);
    MUST(status == 200 || status == 206 || status == 304 || status == 412 || status == 416);
    MUST(status != 412 || r.if_match.ptr || r.if_unmodified_since.ptr || r.if_none_match.ptr);
    MUST(status != 304 || r.if_none_match.ptr || r.if_modified_since.ptr);
    MUST(status < 206 || status == 412 || status == 304 || r.range.ptr);
}

/* What is a date is one in our own form, too. */
static void fuzz_date(chopin_str s) {
    int64_t unix_s, again;
    char    text[29];
    if (!chopin__date_parse(s, 1700000000, &unix_s)) return;
    MUST(unix_s >= -62135596800 && unix_s <= 253402300800);
    if (unix_s < 0 || unix_s == 253402300800) return;
    chopin__date_format(text, unix_s);
    MUST(chopin__date_parse(chopin__str(text, sizeof text), 0, &again) && again == unix_s);
}

static void fuzz_accept(chopin_str s) {
    chopin__accepted w = chopin__accepted_read(s);
    MUST(w.identity >= -1 && w.identity <= 1000);
    for (unsigned offered = 0; offered < 16; offered++) {
        chopin__coding coding = chopin__coding_choose(&w, offered);
        MUST(coding == CHOPIN__IDENTITY || ((offered >> coding & 1) && w.coding[coding] > 0 && w.coding[coding] >= w.identity));
    }
}

/* As sent; if it passes, no segment is a way up, and both ways of opening agree on what is below the root (links aside). */
static void fuzz_path(chopin_str s, chopin__arena *a) {
    static chopin__files_root root = { .fd = -1 };
    chopin_str path;
    if (root.fd < 0) MUST(chopin__files_root_open(&root, "/usr/include") == 0);
    if (chopin__path_decode(s, a, &path) != 200 || !chopin__path_ok(path, s.len & 1)) return;
    MUST(path.ptr[path.len] == 0 && strlen(path.ptr) == path.len && (path.len == 0 || path.ptr[0] != '/') && !strstr(path.ptr, "//") && !strchr(path.ptr, '\\'));
    for (chopin_str rest = path; rest.len > 0; ) {
        chopin_str part = chopin__cut(&rest, '/');
        MUST(!chopin__equal_z(part, "..") && !chopin__equal_z(part, ".") && part.len);
    }
    int fd = chopin__files_open(&root, path, CHOPIN__OPEN_FILE), walked = chopin__files_walk(root.fd, path.len ? path : CHOPIN_STR("."), CHOPIN__OPEN_FILE);
    MUST(walked < 0 || fd >= 0);
    if (fd >= 0) close(fd);
    if (walked >= 0) close(walked);
    chopin_str type = chopin__mime_of(path, NULL);
    MUST(type.len && chopin__is_field_value(type));
}

static void fuzz_location(chopin_str s, chopin__arena *a) {
    chopin_str rest = s, path = chopin__cut(&rest, '?'), location = chopin__path_with_slash(a, path, rest);
    if (!location.ptr) return;
    MUST(location.ptr[0] == '/' && (location.len < 2 || location.ptr[1] != '/'));
    for (size_t i = 0; i < location.len; i++) MUST(location.ptr[i] > 0x20 && location.ptr[i] < 0x7f && location.ptr[i] != '\\' && location.ptr[i] != '"');
}

static void fuzz_names(chopin_str s, chopin__arena *a) {
    chopin_str value = chopin__disposition(a, true, s);
    if (value.ptr) {
        MUST(chopin__is_field_value(value));
        for (size_t i = 0; i < value.len; i++) MUST((unsigned char)value.ptr[i] < 0x7f);
    }
    chopin__entry entry = { s, 1, 2, s.len & 1 };
    chopin__json_out out = { .arena = a };
    if (s.len == 0) return;
    chopin__listing_row(&out, &entry);
    MUST(out.failed || out.len <= 128 + 9 * s.len);
    size_t open = 0;
    for (size_t i = 0; i < out.len && !out.failed; i++) open += out.ptr[i] == '<';
    MUST(out.failed || open == 6);                                  // tr, td, a, /a, td, td: no name adds a tag
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    chopin__heap  heap = { .alloc = chopin__heap_default };
    chopin__arena arena;
    char block[256];
    if (size == 0) return 0;
    chopin__arena_init(&arena, &heap, block, sizeof block, 1 << 16);
    char *tight = malloc(size);                                     // of its own, so that one byte too many is seen
    if (!tight) return 0;
    memcpy(tight, data, size);
    chopin_str s = chopin__str(tight + 1, size - 1);
    switch (data[0] % 7) {
    case 0: fuzz_range(s); break;
    case 1: fuzz_conditions(s, &arena); break;
    case 2: fuzz_date(s); break;
    case 3: fuzz_accept(s); break;
    case 4: fuzz_path(s, &arena); break;
    case 5: fuzz_location(s, &arena); break;
    default: fuzz_names(s, &arena); break;
    }
    free(tight);
    chopin__arena_reset(&arena);
    return 0;
}
