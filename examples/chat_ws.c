/* chat_ws.c - chat rooms: a room is a topic, and what is broadcast to it reaches everybody there, on whatever worker.
   cc -O2 -pthread examples/chat_ws.c -o chat_ws && ./chat_ws
   Try: open http://127.0.0.1:8080/ in two windows, and http://127.0.0.1:8080/#tea in a third: another room */
#define CHOPIN_IMPLEMENTATION
#include "../chopin.h"
#include <stdio.h>
#include <string.h>

enum { MAX_NAME = 32, MAX_SAID = 2000 };

static const char page[] =
    "<!doctype html><meta charset=utf-8><title>Chat</title>\n"
    "<h1 id=room></h1>\n"
    "<form id=enter><input id=who placeholder='your name' required maxlength=20 autofocus><button>Enter</button></form>\n"
    "<form id=say hidden><input id=text placeholder='say something' maxlength=400 autocomplete=off><button>Say</button></form>\n"
    "<ul id=log></ul>\n"
    "<script>\n"
    "room.textContent = decodeURIComponent(location.hash.slice(1)) || 'lobby';\n"
    "onhashchange = () => location.reload();\n"
    "function show(kind, line) {\n"
    "    const item = document.createElement('li');\n"
    "    item.className = kind;\n"
    "    item.textContent = line;                         // never innerHTML: it is somebody else's text\n"
    "    log.prepend(item);\n"
    "}\n"
    "enter.onsubmit = event => {\n"
    "    event.preventDefault();\n"
    "    const url = new URL('/rooms/' + encodeURIComponent(room.textContent), location.href.replace(/^http/, 'ws'));\n"
    "    const socket = new WebSocket(url);\n"
    "    socket.onopen = () => { socket.send(who.value); enter.hidden = true; say.hidden = false; text.focus(); };\n"
    "    socket.onclose = event => { show('end', 'closed ' + event.code + ' ' + event.reason); enter.hidden = false; say.hidden = true; };\n"
    "    socket.onmessage = event => {                    // kind, name and text, with tabs between\n"
    "        const [kind, name, ...rest] = event.data.split('\\t');\n"
    "        show(kind, kind == 'said' ? name + ': ' + rest.join('\\t') : name + ' has ' + kind);\n"
    "    };\n"
    "    say.onsubmit = event => { event.preventDefault(); if (text.value) socket.send(text.value); text.value = ''; };\n"
    "};\n"
    "</script>\n";

CHOPIN_GET(index_page, "/") { return chopin_html(c, 200, page); }

static int tell(chopin_ctx *c, const char *room, const char *kind, const char *name, chopin_str text) {
    char line[MAX_NAME + MAX_SAID + 16];             // not chopin_printf(): its memory would only be freed when the handler returns, perhaps tomorrow
    int  len = snprintf(line, sizeof line, "%s\t%s\t%.*s", kind, name, CHOPIN_FMT(text));
    return chopin_ws_broadcast(chopin_app_of(c), room, CHOPIN_WS_TEXT, (chopin_str){ line, (size_t)len });
}

/* Copies a name; false if it is none: empty, too long, or with a control in it, which could pose as our tab. */
static bool take_name(char *name, chopin_str text) {
    if (text.len < 1 || text.len > MAX_NAME) return false;
    for (size_t i = 0; i < text.len; i++) if ((unsigned char)text.ptr[i] < 32 || text.ptr[i] == 127) return false;
    memcpy(name, text.ptr, text.len);
    name[text.len] = 0;
    return true;
}

/* One handler a guest, straight from entering to leaving. The first message is the guest's name. */
CHOPIN_GET(guest, "/rooms/:room") {
    const char       *room = chopin_printf(c, "%.*s", CHOPIN_FMT(chopin_param(c, "room"))).ptr;
    char              name[MAX_NAME + 1];
    chopin_ws_message m;
    if (!room) return 0;                                                                 // out of memory: 503
    chopin_ws *ws = chopin_ws_accept(c, NULL);                                           // refused: the calls below fail
    if (chopin_ws_recv_until(ws, &m, chopin_now_ms(c) + 10000) != CHOPIN_OK) return 0;
    if (m.kind != CHOPIN_WS_TEXT || !take_name(name, m.data)) return chopin_ws_close(ws, 4000, "a name has 1 to 32 bytes");
    if (chopin_ws_subscribe(ws, room) != CHOPIN_OK) return 0;

    tell(c, room, "joined", name, CHOPIN_STR(""));
    while (chopin_ws_recv(ws, &m) == CHOPIN_OK) {
        if (m.kind == CHOPIN_WS_TEXT) tell(c, room, "said", name, m.data);
    }
    tell(c, room, "left", name, CHOPIN_STR(""));                                         // closed, vanished, or sent too much
    return 0;
}

int main(int argc, char **argv) { return chopin_main(argc, argv, chopin_new(&(chopin_options){ .ws_max_message = MAX_SAID })); }
