/* tuned.c - GET /plaintext, and files, with the options that its arguments name: what run.py measures options on
 *
 *     cc -O2 -pthread tuned.c -o tuned && ./tuned 127.0.0.1:8080 backend=uring sqpoll=1
 *
 *     backend=auto|uring|epoll  workers=N  pin_workers=1  sqpoll=1  defer_accept=1  steer_by_cpu=1
 *     busy_poll_us=N  fast_open=N  congestion=NAME  share_port=1  read_buffer=BYTES
 *     files=FOLDER, served under /static      file_cache=N                                                */
#define CHOPIN_IMPLEMENTATION
#include "../chopin.h"
#include <stdio.h>

CHOPIN_GET(plaintext, "/plaintext") { return chopin_bytes_static(c, 200, "text/plain", CHOPIN_STR("Hello, World!")); }

static const char *folder;    // of files, NULL: none

/* One word of the command line. False: no such option. */
static bool set(chopin_options *o, char *word) {
    char *value = strchr(word, '=');
    if (!value) return false;
    *value++ = '\0';
    int number = atoi(value);
    if      (!strcmp(word, "backend"))      o->backend      = value;
    else if (!strcmp(word, "workers"))      o->workers      = number;
    else if (!strcmp(word, "pin_workers"))  o->pin_workers  = number;
    else if (!strcmp(word, "sqpoll"))       o->sqpoll       = number;
    else if (!strcmp(word, "defer_accept")) o->defer_accept = number;
    else if (!strcmp(word, "steer_by_cpu")) o->steer_by_cpu = number;
    else if (!strcmp(word, "busy_poll_us")) o->busy_poll_us = number;
    else if (!strcmp(word, "fast_open"))    o->fast_open    = number;
    else if (!strcmp(word, "congestion"))   o->congestion   = value;
    else if (!strcmp(word, "share_port"))   o->share_port   = number;
    else if (!strcmp(word, "read_buffer"))  o->read_buffer  = (size_t)number;
    else if (!strcmp(word, "file_cache"))   o->file_cache   = (size_t)number;
    else if (!strcmp(word, "files"))        folder          = value;
    else return false;
    return true;
}

int main(int argc, char **argv) {
    chopin_options options = { .workers = 1, .no_env = true };
    for (int i = 2; i < argc; i++) {
        if (set(&options, argv[i])) continue;
        fprintf(stderr, "tuned: no option \"%s\"\n", argv[i]);
        return 2;
    }
    chopin_app *app = chopin_new(&options);
    if (!app) return 1;
    chopin_mount_all(app);
    if (folder) chopin_files(app, "/static", folder, NULL);
    int rc = chopin_serve(app, argc > 1 ? argv[1] : "127.0.0.1:8080");
    chopin_free(app);
    return rc < 0;
}
