/* build_cpp.cpp - the declarations as C++17, linked with an implementation in C. See build.sh. */
#ifndef CHOPIN_HEADER
#define CHOPIN_HEADER "../chopin.h"
#endif
#include CHOPIN_HEADER
#include <cstdlib>
#include <string_view>

extern "C" void second_file(chopin_app *app);

static_assert(CHOPIN_VERSION_MAJOR >= 0 && CHOPIN_OK == 0 && CHOPIN_NO_LIMIT == SIZE_MAX, "constants are constants");

static int second(chopin_ctx *c) {
    const chopin_str x = chopin_get_str_or(c, CHOPIN_FROM_QUERY, "x", CHOPIN_STR("none"));
    if (chopin_header_of(c, CHOPIN_H_HOST).ptr == nullptr) return CHOPIN_MISSING;
    if (chopin_set(c, "X-From", "C++") != CHOPIN_OK) return CHOPIN_INVALID;
    return chopin_textf(c, 200, "second %.*s", CHOPIN_FMT(x));
}

static int lambda_runs(chopin_ctx *c) {
    static const chopin_handler handler = [](chopin_ctx *inner) { return chopin_next(inner); };
    return handler(c);
}

CHOPIN_GET(from_cpp, "/cpp/:id<u64>") {
    uint64_t id = 0;
    if (int rc = chopin_get_u64(c, CHOPIN_FROM_PARAM, "id", &id)) return rc;
    return chopin_jsonf(c, 200, "{id:%llu}", static_cast<unsigned long long>(id));
}

void second_file(chopin_app *app) {
    chopin_route_options options = {};
    options.max_body = 100;
    chopin_group *group = chopin_group_new(app, "/");
    chopin_use(app, "/", lambda_runs);
    chopin_route(group, "GET", "/second", second, &options);
    chopin_mount_all(app);
    if (std::string_view(chopin_status_text(CHOPIN_OK)) != "no error") std::abort();
}
