/* floor_common.h - what the two floor servers share: the ready reply, the counter of blank lines, the listener */
#ifndef FLOOR_COMMON_H
#define FLOOR_COMMON_H
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_BATCH = 64,       // most pipelined replies that leave in one send
    MAX_REPLY = 256,      // bytes of one reply
    MAX_FD    = 65536     // connections live in a table indexed by descriptor
};

static char   replies[MAX_BATCH * MAX_REPLY];   // the same reply, MAX_BATCH times
static size_t reply_len;                        // length of one
static char   file_head[MAX_REPLY];             // head of a file reply; the file follows
static size_t file_head_len;

/* A Date header's value; that of the start, for ever. */
static const char *date_text(void) {
    static char date[64];
    time_t now = time(NULL);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime(&now));
    return date;
}

static void make_replies(bool json, bool close_after) {
    const char *body = json ? "{\"message\":\"Hello, World!\"}" : "Hello, World!";
    const char *type = json ? "application/json" : "text/plain";
    char one[MAX_REPLY];
    reply_len = (size_t)snprintf(one, sizeof one,
        "HTTP/1.1 200 OK\r\nServer: F\r\nDate: %s\r\nContent-Type: %s\r\n%sContent-Length: %zu\r\n\r\n%s",
        date_text(), type, close_after ? "Connection: close\r\n" : "", strlen(body), body);
    for (size_t i = 0; i < MAX_BATCH; i++) {
        memcpy(replies + i * reply_len, one, reply_len);
    }
}

/* Opens the file that answers every request and prepares its head; ends the program when that fails. */
static int open_file(const char *path, off_t *size) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st)) {
        perror(path);
        exit(1);
    }
    *size = st.st_size;
    file_head_len = (size_t)snprintf(file_head, sizeof file_head,
        "HTTP/1.1 200 OK\r\nServer: F\r\nDate: %s\r\nContent-Type: application/octet-stream\r\nContent-Length: %lld\r\n\r\n",
        date_text(), (long long)st.st_size);
    return fd;
}

/* Counts the blank lines that end request heads. `*matched` carries how many bytes of "\r\n\r\n" ended the
 * input before, so that a head may come in pieces. */
static inline unsigned count_heads(const char *p, size_t n, uint8_t *matched) {
    const char *end = p + n;
    unsigned count = 0;
    // The usual case, whole requests: memmem is the fastest scan there is.
    if (*matched == 0 && n >= 4 && memcmp(end - 4, "\r\n\r\n", 4) == 0) {
        while ((p = memmem(p, (size_t)(end - p), "\r\n\r\n", 4))) {
            count++;
            p += 4;
        }
        return count;
    }
    uint8_t m = *matched;
    for (; p < end; p++) {
        m = (*p == "\r\n\r\n"[m]) ? m + 1 : (*p == '\r');
        if (m == 4) {
            count++;
            m = 0;
        }
    }
    *matched = m;
    return count;
}

/* As chopin.h does on loopback: BBR would pace there. */
static void leave_bbr(int fd) {
    char      usual[16] = "";
    socklen_t size = sizeof usual;
    if (getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, usual, &size) == 0 && !strncmp(usual, "bbr", 3)) setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
}
static int listen_on(int port, bool defer_accept) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);   // accepted sockets inherit it
    if (defer_accept) setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &one, sizeof one);
    leave_bbr(fd);
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    if (bind(fd, (struct sockaddr *)&addr, sizeof addr) || listen(fd, 4096)) {
        perror("listen");
        exit(1);
    }
    return fd;
}
#endif
