/* embedded.c - a small device: its pages are in the program, its memory is one array, and it tells how much of it is needed.
   cc -O2 -pthread examples/embedded.c -o embedded && ./embedded
   (from the root of the tree: the assembler reads examples/embedded/; with -Os -s the program is smaller still)
   Try: open http://127.0.0.1:8080/ in a browser and press the lamp; curl http://127.0.0.1:8080/api/state
        ./embedded sizes        what a connection costs, measured: below, sizes() */
#define CHOPIN_NO_FIBERS                                   // nothing here waits: no stacks, and the server runs on the stack of main()
#define CHOPIN_IMPLEMENTATION
#include "../chopin.h"
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

CHOPIN_EMBED_FILE(index_html, "examples/embedded/index.html");
CHOPIN_EMBED_FILE(style_css,  "examples/embedded/style.css");
CHOPIN_EMBED_FILE(lamp_svg,   "examples/embedded/lamp.svg");
static const chopin_asset assets[] = {
    { "/index.html", NULL, index_html, index_html_end, NULL, NULL },
    { "/style.css",  NULL, style_css,  style_css_end,  NULL, NULL },
    { "/lamp.svg",   NULL, lamp_svg,   lamp_svg_end,   NULL, NULL },
};

/* ---- memory: all that chopin_options.alloc gives comes from one array. What is freed waits in a list for the next block of its size, and there are
        few sizes: buffers of requests and replies. When the array is full, the connection that wants more is cut. One thread: no lock. ---- */
enum { MEMORY = 96 << 10, CONNECTIONS = 64, HALVES = 8 };
typedef struct spare { struct spare *next; size_t size; } spare;
static struct { _Alignas(16) unsigned char bytes[MEMORY]; size_t taken, used, peak; spare *spares; } memory;

/* Eight sizes from one power of two to the next. */
static size_t rounded(size_t n) {
    size_t step = 16;
    while (step * 16 < n) step *= 2;
    return (n + step - 1) / step * step;
}

static void *take(size_t size) {
    for (spare **at = &memory.spares; *at; at = &(*at)->next) {
        if ((*at)->size != size) continue;
        spare *found = *at;
        *at = found->next;
        return found;
    }
    if (size > MEMORY - memory.taken) return NULL;
    memory.taken += size;
    return memory.bytes + memory.taken - size;
}

static void *from_the_array(void *ctx, void *ptr, size_t old_size, size_t new_size) {
    size_t old = ptr ? rounded(old_size) : 0, size = new_size ? rounded(new_size) : 0;
    (void)ctx;
    if (old == size) return ptr;
    unsigned char *fresh = NULL;
    if (size) {
        fresh = take(size);
        if (!fresh) return NULL;                                               // as realloc(): the old block stays
        if (ptr) memcpy(fresh, ptr, old_size < new_size ? old_size : new_size);
    }
    if (ptr) {
        spare *back = ptr;
        *back = (spare){ memory.spares, old };
        memory.spares = back;
    }
    memory.used = memory.used - old + size;
    if (memory.used > memory.peak) memory.peak = memory.used;
    return fresh;
}

/* ---- the device ---- */

static bool lamp;

static int state(chopin_ctx *c) {
    return chopin_jsonf(c, 200, "{lamp:%b,requests:%llu,used:%zu,peak:%zu,of:%d}", lamp,
                        (unsigned long long)chopin_counters_of(chopin_app_of(c)).requests, memory.used, memory.peak, MEMORY);
}
static int press(chopin_ctx *c) {
    lamp = !lamp;
    return state(c);
}

/* ---- sizes: connects to itself, many times ---- */

/* What the kernel has given to this process alone and must keep in memory: the exact account, unlike VmRSS. -1: it does not tell. */
static long resident_kib(void) {
    char  line[128];
    long  kib = -1;
    FILE *f = fopen("/proc/self/smaps_rollup", "r");
    while (f && fgets(line, sizeof line, f)) if (sscanf(line, "Private_Dirty: %ld", &kib) == 1) break;
    if (f) fclose(f);
    return kib;
}

/* `n` more connections, each with `bytes` sent on it; then all that has come is handled. */
static void connect_many(chopin_app *app, int n, const char *bytes) {
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)chopin_port(app, 0)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct pollfd      server = { .fd = chopin_fd(app), .events = POLLIN };
    for (int i = 0; i < n; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);               // stays open until the program ends
        if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0 || send(fd, bytes, strlen(bytes), 0) < 0) perror("embedded");
        while (poll(&server, 1, 5) > 0) chopin_step(app, 0);
    }
}

static void sizes(chopin_app *app) {
    const char *request = "GET /api/state HTTP/1.1\r\nHost: device\r\n\r\n";
    int         idle = CONNECTIONS - HALVES - 1;
    connect_many(app, 1, request);                                             // the first request fills the pools
    long   before = resident_kib();
    size_t used = memory.used;
    connect_many(app, idle, request);
    printf("%d idle connections: %ld bytes each by Private_Dirty (whole pages), %zu of the array\n", idle, (resident_kib() - before) * 1024 / idle, memory.used - used);
    connect_many(app, HALVES, "GET /api/state HTTP/1.1\r\nHost: dev");
    printf("%d requests that have not ended yet: %zu bytes of the array each\n", HALVES, (memory.used - used) / HALVES);
    printf("the kernel's socket buffers are not in these figures\n");
}

int main(int argc, char **argv) {
    bool        measure = argc > 1 && strcmp(argv[1], "sizes") == 0;
    const char *address = measure ? "127.0.0.1:0" : argc > 1 ? argv[1] : "127.0.0.1:8080";
    chopin_app *app = chopin_new(&(chopin_options){
        .alloc = from_the_array, .max_connections = CONNECTIONS, .max_arena = 4096,
        .read_buffer = 2048, .write_buffer = 2048, .max_head = 2048, .max_target = 256, .max_header_line = 1024, .max_headers = 32, .max_body = 512,
    });
    if (!app) return 1;
    chopin_embed(app, "/", assets, sizeof assets / sizeof assets[0], "no-cache");
    chopin_route(app, "GET",  "/api/state", state, NULL);
    chopin_route(app, "POST", "/api/lamp",  press, NULL);
    chopin_listen(app, address);
    int serving = chopin_open(app);                                            // the reason of a failure is logged
    if (serving == CHOPIN_OK) {
        printf("at start: %zu of %d bytes of the array, %ld KiB by Private_Dirty in /proc/self/smaps_rollup\n", memory.used, MEMORY, resident_kib());
        fflush(stdout);
        fprintf(stderr, "listening on port %d\n", chopin_port(app, 0));
        if (measure) sizes(app);
        else while ((serving = chopin_step(app, -1)) > 0) { }
        chopin_close(app);
    }
    chopin_free(app);
    return serving < 0;
}
