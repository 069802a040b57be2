/* clock_sse.c - server-sent events: a clock whose every second is an event, and a page that misses none of them.
   cc -O2 -pthread examples/clock_sse.c -o clock_sse && ./clock_sse
   Try: open http://127.0.0.1:8080/ in a browser; stop the server, start it again: the page comes back and gets what it missed
        curl -N http://127.0.0.1:8080/ticks                                     events as they are sent
        curl -N -H 'Last-Event-ID: 1' http://127.0.0.1:8080/ticks               the last minute at once, then as before       */
#define CHOPIN_IMPLEMENTATION
#include "../chopin.h"
#include <time.h>

enum { REMEMBERED_S = 60 };

static const char page[] =
    "<!doctype html><meta charset=utf-8><title>Clock</title>\n"
    "<h1 id=now>...</h1><p id=state>connecting</p><ol id=log reversed></ol>\n"
    "<script>\n"
    "const source = new EventSource('/ticks');            // connects again by itself, and says what it saw last\n"
    "source.onopen  = () => { state.textContent = 'connected'; };\n"
    "source.onerror = () => { state.textContent = 'connecting again'; };\n"
    "source.addEventListener('tick', event => {\n"
    "    const line = document.createElement('li');\n"
    "    line.dataset.id = event.lastEventId;\n"
    "    now.textContent = line.textContent = event.data;\n"
    "    log.prepend(line);\n"
    "});\n"
    "</script>\n";

CHOPIN_GET(index_page, "/") { return chopin_html(c, 200, page); }

/* The id of an event is its second. A client that was cut off sends the last one it saw: it goes on behind that. */
CHOPIN_GET(ticks, "/ticks") {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t oldest = (int64_t)now.tv_sec - REMEMBERED_S;
    int64_t next = chopin_get_i64_or(c, CHOPIN_FROM_HEADER, "Last-Event-ID", (int64_t)now.tv_sec - 1) + 1;
    if (next < oldest || next > now.tv_sec + 1) next = oldest;                           // whatever that was, it is not from here
    int rc = chopin_sse(c);
    while (rc == CHOPIN_OK) {
        clock_gettime(CLOCK_REALTIME, &now);
        if (next > now.tv_sec) {                                                         // parks to the next second; the loop goes on
            rc = chopin_sleep(c, 1000 - now.tv_nsec / 1000000);
            continue;
        }
        char      id[24], text[16];
        struct tm tm;
        time_t    second = (time_t)next;
        int       id_len = snprintf(id, sizeof id, "%lld", (long long)next);
        size_t    len = strftime(text, sizeof text, "%H:%M:%S", gmtime_r(&second, &tm));
        rc = chopin_sse_event(c, &(chopin_sse_options){ .id = { id, (size_t)id_len }, .event = CHOPIN_STR("tick"), .data = { text, len }, .retry_ms = 500 });
        next++;
    }
    return rc;                                                                           // the client has left, or the server stops
}

int main(int argc, char **argv) { return chopin_main(argc, argv, NULL); }
