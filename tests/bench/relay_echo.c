/*
 * A backend that costs next to nothing: so that the proxy before it is what is measured. One thread, epoll.
 *
 *     relay_echo PORT
 *
 * On 127.0.0.1. The first byte of a connection says what it gets: 's' a stream of bytes without end, any other
 * byte (and all that follow) back. At the client's EOF the connection is closed.
 *
 * Build: cc -O2 -Wall -Wextra -o relay_echo relay_echo.c
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROOM 262144
#define BACKLOG 4096
#define MOST_DESCRIPTORS 65536

enum use { UNKNOWN, ECHO, STREAM };

struct connection { enum use use; char *kept; size_t from, to; };

static struct connection connections[MOST_DESCRIPTORS];
static char room[ROOM];
static int poll_fd;

static void die(const char *what)
{
    fprintf(stderr, "relay_echo: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void end(int fd)
{
    free(connections[fd].kept);
    connections[fd] = (struct connection){UNKNOWN, NULL, 0, 0};
    close(fd);
}

static void watch(int fd, unsigned events, int operation)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(poll_fd, operation, fd, &event) < 0)
        die("epoll");
}

static void accept_all(int listening)
{
    int one = 1, fd;
    while ((fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (fd >= MOST_DESCRIPTORS) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        watch(fd, EPOLLIN, EPOLL_CTL_ADD);
    }
}

/* What the kernel does not take is kept, and nothing more is read until it is sent. */
static void send_back(int fd, const char *bytes, size_t count)
{
    struct connection *c = &connections[fd];
    ssize_t sent = send(fd, bytes, count, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        end(fd);
        return;
    }
    sent = sent < 0 ? 0 : sent;
    if ((size_t)sent == count)
        return;
    c->from = 0;
    c->to = count - sent;
    c->kept = malloc(c->to);
    if (!c->kept)
        die("no memory");
    memcpy(c->kept, bytes + sent, c->to);
    watch(fd, EPOLLOUT, EPOLL_CTL_MOD);
}

static void send_kept(int fd)
{
    struct connection *c = &connections[fd];
    ssize_t sent = send(fd, c->kept + c->from, c->to - c->from, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        end(fd);
        return;
    }
    c->from += sent < 0 ? 0 : sent;
    if (c->from == c->to) {
        free(c->kept);
        c->kept = NULL;
        watch(fd, EPOLLIN, EPOLL_CTL_MOD);
    }
}

static void hear(int fd)
{
    struct connection *c = &connections[fd];
    ssize_t count = recv(fd, room, ROOM, 0);
    if (count < 0 && errno == EAGAIN)
        return;
    if (count <= 0) {
        end(fd);
        return;
    }
    if (c->use == UNKNOWN) {
        c->use = *room == 's' ? STREAM : ECHO;
        if (c->use == STREAM)
            watch(fd, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
    }
    if (c->use == ECHO)
        send_back(fd, room, count);
}

int main(int argc, char **argv)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event ready[256];
    struct rlimit files;
    int one = 1, listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (argc != 2) {
        fprintf(stderr, "usage: relay_echo PORT\n");
        return 2;
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    here.sin_port = htons(atoi(argv[1]));
    setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listening, (struct sockaddr *)&here, sizeof here) < 0 || listen(listening, BACKLOG) < 0)
        die(argv[1]);
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    watch(listening, EPOLLIN, EPOLL_CTL_ADD);
    for (;;) {
        int count = epoll_wait(poll_fd, ready, 256, -1);
        for (int i = 0; i < count; i++) {
            int fd = ready[i].data.fd;
            if (fd == listening)
                accept_all(fd);
            else if (ready[i].events & ~EPOLLOUT)
                hear(fd);
            else if (connections[fd].use == STREAM)
                send(fd, room, ROOM, MSG_NOSIGNAL);
            else
                send_kept(fd);
        }
    }
}
