/* files.c - a folder: shown, sent, saved, and filled by uploads of any size with a progress bar in the browser.
   cc -O2 -pthread examples/files.c -o files && mkdir -p shared && ./files shared
   Try: open http://127.0.0.1:8080/ in a browser, upload something, see it in the list; a video there can be sought in
        curl -F file=@README.md http://127.0.0.1:8080/upload      the same without a browser
        curl -r 0-99 http://127.0.0.1:8080/files/README.md        the first hundred bytes
        curl -I http://127.0.0.1:8080/save/README.md              Content-Disposition: what browsers save under that name    */
#define CHOPIN_IMPLEMENTATION
#include "../chopin.h"
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static const char page[] =
    "<!doctype html><meta charset=utf-8><title>Files</title>\n"
    "<h1>Files</h1>\n"
    "<form id=form><input type=file name=file multiple required> <button>Upload</button> <progress id=bar value=0></progress></form>\n"
    "<p id=said></p>\n"
    "<p><a href=/files/>look at them</a>, <a href=/save/>save them</a></p>\n"
    "<script>\n"
    "form.onsubmit = event => {\n"
    "    event.preventDefault();\n"
    "    const request = new XMLHttpRequest();            // fetch() does not tell how far an upload is\n"
    "    request.upload.onprogress = event => { bar.value = event.loaded / event.total; };\n"
    "    request.onload  = () => { said.textContent = request.responseText; };\n"
    "    request.onerror = () => { said.textContent = 'the connection broke'; };\n"
    "    request.open('POST', '/upload');\n"
    "    request.send(new FormData(form));\n"
    "};\n"
    "</script>\n";

CHOPIN_GET(index_page, "/") { return chopin_html(c, 200, page); }

/* From where it arrived to its name or, if that is taken, to "2-name", "3-name", ... link() replaces nothing, unlike rename(). */
static bool keep(const char *folder, const char *arrived, const char *name) {
    char path[4096];
    int  rc = -1;
    for (int i = 1; rc != 0 && i < 1000; i++) {
        int len = i == 1 ? snprintf(path, sizeof path, "%s/%s", folder, name) : snprintf(path, sizeof path, "%s/%d-%s", folder, i, name);
        if (len < 0 || (size_t)len >= sizeof path) break;
        rc = link(arrived, path);
        if (rc != 0 && errno != EEXIST) break;
    }
    unlink(arrived);
    return rc == 0;
}

/* Each file goes to disk as it comes, under a random name in a folder that begins with a dot and so is not served; when it is whole it gets its
   own name, made safe: `safe_name` is one path component, whatever the client called it. Memory does not grow with the files. */
static int upload(chopin_ctx *c) {
    const char *folder = chopin_app_user(c), *arrivals = chopin_printf(c, "%s/.arriving", folder).ptr;
    int         kept = 0, rc;
    for (chopin_part p; (rc = chopin_next_part(c, &p)) > 0; ) {
        if (!p.file || !p.filename.len) continue;                              // a form without a file sends an empty one
        chopin_str arrived = chopin_part_store(c, arrivals);
        if (!arrived.ptr) return 0;                                            // has been answered, or becomes a 500
        if (!keep(folder, arrived.ptr, p.safe_name.ptr)) return chopin_failf(c, 500, "cannot keep %s in %s", p.safe_name.ptr, folder);
        kept++;
    }
    return rc < 0 ? 0 : chopin_textf(c, 200, "%d kept\n", kept);
}

/* What strangers have uploaded must not run as a page of ours. */
static int sandbox(chopin_ctx *c) {
    chopin_set(c, "Content-Security-Policy", "sandbox");
    return chopin_next(c);
}

int main(int argc, char **argv) {
    char arrivals[4096];
    if (argc < 2 || argv[1][0] == '-') { fprintf(stderr, "usage: %s FOLDER [--listen ADDRESS]...\n", argv[0]); return 1; }
    snprintf(arrivals, sizeof arrivals, "%s/.arriving", argv[1]);
    if (mkdir(arrivals, 0700) != 0 && errno != EEXIST) { perror(arrivals); return 1; }

    chopin_app *app = chopin_new(&(chopin_options){ .user = argv[1] });
    chopin_use(app, "/files", sandbox);
    chopin_files(app, "/files", argv[1], &(chopin_files_options){ .listing = true });
    chopin_files(app, "/save",  argv[1], &(chopin_files_options){ .listing = true, .attachment = true });
    chopin_origin_check(app, "/upload", NULL);                                 // pages of other sites may not fill our disk
    chopin_route(app, "POST", "/upload", upload, &(chopin_route_options){ .max_body = (size_t)2 << 30 });
    argv[1] = argv[0];                                                         // the rest of the words is chopin_main()'s
    return chopin_main(argc - 1, argv + 1, app);
}
