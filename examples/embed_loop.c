/* embed_loop.c - a server inside a poll() loop of your own: one thread, three sources (server, keyboard, a timer).
   cc -O2 -pthread examples/embed_loop.c -o embed_loop && ./embed_loop
   Try: curl http://127.0.0.1:8080/      then type another greeting, press return, and ask again; "quit" ends it */
#define CHOPIN_IMPLEMENTATION
#include "../chopin.h"
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { REPORT_EVERY_MS = 10000 };
static char greeting[128] = "Hello from somebody else's loop";

static int greet(chopin_ctx *c)  { return chopin_textf(c, 200, "%s\n", greeting); }      // the loop's thread: no lock
static int slowly(chopin_ctx *c) { chopin_sleep(c, 1000); return greet(c); }             // parks; the loop goes on

/* One line from the keyboard. False: no more will come. */
static bool keyboard(chopin_app *app) {
    ssize_t n = read(STDIN_FILENO, greeting, sizeof greeting - 1);
    if (n <= 0) return false;
    greeting[n] = 0;
    greeting[strcspn(greeting, "\n")] = 0;
    if (strcmp(greeting, "quit") == 0) chopin_stop(app);
    return true;
}

int main(int argc, char **argv) {
    chopin_app *app = chopin_new(NULL);
    chopin_route(app, "GET", "/",       greet,  NULL);
    chopin_route(app, "GET", "/slowly", slowly, NULL);
    chopin_listen(app, argc > 1 ? argv[1] : "127.0.0.1:8080");
    if (chopin_open(app) < 0) { chopin_free(app); return 1; }                            // the reason has been logged
    fprintf(stderr, "serving on port %d\n", chopin_port(app, 0));

    struct pollfd sources[2] = { { .fd = chopin_fd(app), .events = POLLIN }, { .fd = STDIN_FILENO, .events = POLLIN } };
    int64_t report = chopin_now_us() / 1000 + REPORT_EVERY_MS;
    int     serving = 1;
    while (serving > 0) {
        // Sleep to whichever comes first, our timer or the server's; -1 is the server's "never".
        int64_t now = chopin_now_us() / 1000, ours = report > now ? report - now : 0;
        int     its = chopin_next_deadline(app);
        poll(sources, 2, its >= 0 && its < ours ? its : (int)ours);                      // EINTR: chopin_step() knows what the signal wanted

        if (sources[1].revents && !keyboard(app)) sources[1].fd = -1;
        if (chopin_now_us() / 1000 >= report) {
            printf("%llu requests so far\n", (unsigned long long)chopin_counters_of(app).requests);
            report += REPORT_EVERY_MS;
        }
        serving = chopin_step(app, 0);
    }
    chopin_close(app);
    chopin_free(app);
    return serving < 0;
}
