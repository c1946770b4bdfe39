/*
 * How fast does a proxy pass bytes on? A load for what `relay_echo` serves behind it. One thread, epoll.
 *
 *     relay_load PORT connect SECONDS CONNECTIONS    a connection, a byte and back, its end; so many at once
 *     relay_load PORT echo SECONDS CONNECTIONS       64 bytes and back, one message on its way on each connection
 *     relay_load PORT roundtrip COUNT                64 bytes and back, on one connection
 *     relay_load PORT stream SECONDS                 one connection that only receives
 *
 * At 127.0.0.1. Prints one number: connections a second, messages a second, the median round trip in microseconds,
 * bytes a second. Whatever goes wrong, and SILENCE seconds without any answer, end it with a sentence and status 1.
 *
 * Build: cc -O2 -Wall -Wextra -o relay_load relay_load.c
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE 64
#define ROOM 262144
#define SILENCE 10
#define ADDRESSES 16 /* from 127.0.0.1 on: the ports of one are used up in two seconds */

static struct sockaddr_in there;
static char message[MESSAGE], room[ROOM];
static int poll_fd;

static void die(const char *what, const char *why)
{
    fprintf(stderr, "relay_load: %s: %s\n", what, why);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static int dial(int flags)
{
    static int dials;
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    struct timeval silence = {.tv_sec = SILENCE};
    struct sockaddr_in here = {.sin_family = AF_INET};
    if (fd < 0)
        die("socket", strerror(errno));
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK + dials++ % ADDRESSES);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&here, sizeof here) < 0)
        die("bind", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof silence);
    if (connect(fd, (struct sockaddr *)&there, sizeof there) < 0 && errno != EINPROGRESS)
        die("connect", strerror(errno));
    return fd;
}

static void say(int fd, size_t count)
{
    if (send(fd, message, count, MSG_NOSIGNAL) != (ssize_t)count)
        die("send", strerror(errno));
}

static size_t hear(int fd, size_t most)
{
    ssize_t count = recv(fd, room, most, 0);
    if (count <= 0)
        die("receive", count ? strerror(errno) : "the connection was closed");
    return count;
}

static void watch(int fd, unsigned events, int operation)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(poll_fd, operation, fd, &event) < 0)
        die("epoll", strerror(errno));
}

static int wait_ready(struct epoll_event *ready, int most)
{
    int count = epoll_wait(poll_fd, ready, most, SILENCE * 1000);
    if (count <= 0)
        die("wait", count ? strerror(errno) : "there was no answer");
    return count;
}

static double connects(double seconds, int at_once)
{
    struct epoll_event ready[256];
    int64_t done = 0;
    for (int i = 0; i < at_once; i++)
        watch(dial(SOCK_NONBLOCK), EPOLLOUT, EPOLL_CTL_ADD);
    double begun = now(), end = begun + seconds;
    while (now() < end) {
        int count = wait_ready(ready, 256);
        for (int i = 0; i < count; i++) {
            int fd = ready[i].data.fd;
            if (ready[i].events & EPOLLOUT) {
                say(fd, 1);
                watch(fd, EPOLLIN, EPOLL_CTL_MOD);
                continue;
            }
            hear(fd, ROOM);
            close(fd);
            done++;
            watch(dial(SOCK_NONBLOCK), EPOLLOUT, EPOLL_CTL_ADD);
        }
    }
    return done / (now() - begun);
}

static double echoes(double seconds, int at_once)
{
    struct epoll_event ready[256];
    size_t *missing = calloc(at_once + 65536, sizeof *missing);
    int64_t done = 0;
    for (int i = 0; i < at_once; i++) {
        int fd = dial(0);
        say(fd, MESSAGE);
        missing[fd] = MESSAGE;
        watch(fd, EPOLLIN, EPOLL_CTL_ADD);
    }
    double begun = now(), end = begun + seconds;
    while (now() < end) {
        int count = wait_ready(ready, 256);
        for (int i = 0; i < count; i++) {
            int fd = ready[i].data.fd;
            missing[fd] -= hear(fd, missing[fd]);
            if (missing[fd])
                continue;
            done++;
            say(fd, MESSAGE);
            missing[fd] = MESSAGE;
        }
    }
    return done / (now() - begun);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double round_trip(int wanted)
{
    double *taken = calloc(wanted, sizeof *taken);
    int fd = dial(0);
    for (int i = 0; i < wanted; i++) {
        double begun = now();
        say(fd, MESSAGE);
        for (size_t missing = MESSAGE; missing;)
            missing -= hear(fd, missing);
        taken[i] = (now() - begun) * 1e6;
    }
    qsort(taken, wanted, sizeof *taken, by_size);
    return taken[wanted / 2];
}

static double stream(double seconds)
{
    int fd = dial(0);
    int64_t received = 0;
    *message = 's';
    say(fd, 1);
    hear(fd, ROOM);
    double begun = now(), end = begun + seconds;
    while (now() < end)
        received += hear(fd, ROOM);
    return received / (now() - begun);
}

int main(int argc, char **argv)
{
    struct rlimit files;

    if (argc < 4 || argc > 5)
        die("usage", "relay_load PORT connect|echo|roundtrip|stream SECONDS|COUNT [CONNECTIONS]");
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    there = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    there.sin_port = htons(atoi(argv[1]));
    memset(message, 'e', sizeof message);
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    double amount = atof(argv[3]);
    int at_once = argc > 4 ? atoi(argv[4]) : 1;
    if (amount <= 0 || at_once < 1)
        die("usage", "SECONDS, COUNT and CONNECTIONS are above zero");
    if (strcmp(argv[2], "connect") == 0)
        printf("%.1f\n", connects(amount, at_once));
    else if (strcmp(argv[2], "echo") == 0)
        printf("%.1f\n", echoes(amount, at_once));
    else if (strcmp(argv[2], "roundtrip") == 0)
        printf("%.2f\n", round_trip(amount));
    else if (strcmp(argv[2], "stream") == 0)
        printf("%.0f\n", stream(amount));
    else
        die(argv[2], "there is no such mode, it must be connect, echo, roundtrip or stream");
    return 0;
}
