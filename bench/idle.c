/* idle.c - opens many connections, sends one request on each, and holds them
 *
 *     cc -O2 idle.c -o idle && ./idle -p 8080 -u /plaintext -n 10000
 *
 * Prints "ready N" once every connection has had its answer, then waits until standard input ends. Each address
 * of 127.0.0.0/8 has ports of its own, so connection numbers beyond PER_ADDRESS come from the next address.   */
#define _GNU_SOURCE 1
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PER_ADDRESS = 20000 };

static int port = 8080;

static struct sockaddr_in address(uint32_t host, int on_port) {
    return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)on_port),
                                 .sin_addr.s_addr = htonl(host) };
}

static int dial(int number) {
    struct sockaddr_in from = address(INADDR_LOOPBACK + (uint32_t)(number / PER_ADDRESS), 0);
    struct sockaddr_in to   = address(INADDR_LOOPBACK, port);
    struct timeval timeout  = { .tv_sec = 10 };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    // Else bind() takes a port that no other connection may use, instead of leaving the choice to connect().
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&from, sizeof from)) return -1;
    return connect(fd, (struct sockaddr *)&to, sizeof to) ? -1 : fd;
}

/* One request and the first bytes of its reply, which are all of it for the small replies asked for here. */
static int ask(int fd, const char *path) {
    char request[1024], reply[65536];
    int n = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", path);
    if (send(fd, request, (size_t)n, MSG_NOSIGNAL) != n) return -1;
    ssize_t got = recv(fd, reply, sizeof reply, 0);
    return got > 12 && !memcmp(reply, "HTTP/1.1 200", 12) ? 0 : -1;
}

static void raise_fd_limit(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv) {
    const char *path = "/plaintext";
    int wanted = 10000, opened = 0;
    for (int o; (o = getopt(argc, argv, "p:u:n:")) != -1;) {
        switch (o) {
        case 'p': port = atoi(optarg); break;
        case 'u': path = optarg; break;
        case 'n': wanted = atoi(optarg); break;
        default: return 2;
        }
    }
    raise_fd_limit();
    for (int fd; opened < wanted && (fd = dial(opened)) >= 0 && ask(fd, path) == 0; opened++) {}
    if (opened < wanted) perror("idle: connection or reply missing");
    printf("ready %d\n", opened);
    fflush(stdout);
    while (getchar() != EOF) {}
    return opened < wanted;
}
