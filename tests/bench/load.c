/*
 * How fast does a server of seat/1 answer? An epoll load generator, one thread.
 *
 *     load HOST PORT CONNECTIONS MODE SECONDS [DEPTH [FEATURE]]
 *     load HOST PORT 1 roundtrip COUNT
 *
 * Modes: heartbeat; checkout (each checkout is followed by its checkin; both
 * are operations, only the first is a grant); grants (checkouts only, so the
 * license needs enough seats); roundtrip (COUNT heartbeats, one at a time).
 * DEPTH: unanswered requests per connection (1).
 *
 * Every connection says hello first; the clock starts when all are welcomed.
 * Prints one JSON object. Anything but `"ok":true`, a closed connection or
 * SILENCE seconds without any answer ends it with a sentence and status 1.
 * At the end all requests are answered and every session says bye.
 *
 * Build: cc -O2 -Wall -Wextra -o load load.c
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SILENCE 20
#define DEEPEST 900        /* the protocol allows 1,000 unanswered */
#define LONGEST_REQUEST 512
#define IN_ROOM 262144     /* far more than any reply these requests get */
#define FINE 100000        /* 1 us buckets up to 100 ms, then 1 ms buckets up to 100 s */
#define COARSE 100000

enum mode { HEARTBEAT, CHECKOUT, GRANTS, ROUNDTRIP };
enum phase { GREETING, RUNNING, LEAVING, GONE };
enum operation { HELLO, BEAT, TAKE, RETURN, BYE };

struct request { int64_t id; int64_t sent; enum operation operation; };

struct connection {
    int socket;
    enum phase phase;
    int64_t last_id;
    struct request *unanswered; /* depth + 1 of them */
    int waiting;
    char *in;                   /* kept only between reads that end in the middle of a line */
    size_t in_used;
    char *out;
    size_t out_used, out_room;
    int wants_write;
};

static enum mode mode;
static const char *feature = "cad";
static int depth = 1, count, poll_fd;
static struct connection *connections;
static int welcomed, gone, is_stopping;
static int64_t last_answer, operations, grants;
static uint32_t fine[FINE], coarse[COARSE];
static int64_t *trips, trips_done, trips_wanted;
static char scratch[IN_ROOM];

static void die(const char *sentence, ...)
{
    va_list arguments;
    va_start(arguments, sentence);
    fprintf(stderr, "load: ");
    vfprintf(stderr, sentence, arguments);
    fprintf(stderr, "\n");
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void *reserve(size_t size)
{
    void *room = calloc(1, size);
    if (!room)
        die("out of memory");
    return room;
}

static void watch(struct connection *c, int operation)
{
    struct epoll_event event = {.events = EPOLLIN | (c->wants_write ? EPOLLOUT : 0), .data.ptr = c};
    if (epoll_ctl(poll_fd, operation, c->socket, &event) < 0)
        die("epoll: %s", strerror(errno));
}

/* --- requests ------------------------------------------------------------ */

static void add(struct connection *c, enum operation operation, int64_t handle, int64_t at)
{
    char *line = c->out + c->out_used;
    size_t room = c->out_room - c->out_used;
    long long id = ++c->last_id;
    int length = 0;
    uint8_t secret[16];
    char session[33];

    switch (operation) {
    case HELLO:
        if (getrandom(secret, sizeof secret, 0) != sizeof secret)
            die("no random numbers: %s", strerror(errno));
        for (int i = 0; i < 16; i++)
            snprintf(session + 2 * i, 3, "%02x", secret[i]);
        length = snprintf(line, room,
                          "{\"id\":%lld,\"op\":\"hello\",\"protocol\":\"seat/1\",\"session\":\"%s\",\"attempt\":1,"
                          "\"user\":\"load\",\"host\":\"bench\",\"pid\":%d,\"app\":\"load\"}\n",
                          id, session, (int)getpid());
        break;
    case BEAT:
        length = snprintf(line, room, "{\"id\":%lld,\"op\":\"heartbeat\"}\n", id);
        break;
    case TAKE:
        length = snprintf(line, room, "{\"id\":%lld,\"op\":\"checkout\",\"feature\":\"%s\"}\n", id, feature);
        break;
    case RETURN:
        length = snprintf(line, room, "{\"id\":%lld,\"op\":\"checkin\",\"handle\":%lld}\n", id, (long long)handle);
        break;
    case BYE:
        length = snprintf(line, room, "{\"id\":%lld,\"op\":\"bye\"}\n", id);
        break;
    }
    if (length < 0 || (size_t)length >= room)
        die("a request of more than %d bytes: is the feature's name that long?", LONGEST_REQUEST);
    c->out_used += length;
    c->unanswered[c->waiting++] = (struct request){id, at, operation};
}

static void start_operation(struct connection *c, int64_t at)
{
    add(c, mode == HEARTBEAT || mode == ROUNDTRIP ? BEAT : TAKE, 0, at);
}

static void flush_out(struct connection *c)
{
    size_t done = 0;
    while (done < c->out_used) {
        ssize_t sent = send(c->socket, c->out + done, c->out_used - done, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (sent < 0)
            die("connection %d: %s", (int)(c - connections), strerror(errno));
        done += sent;
    }
    memmove(c->out, c->out + done, c->out_used - done);
    c->out_used -= done;
    if (c->wants_write != (c->out_used > 0)) {
        c->wants_write = c->out_used > 0;
        watch(c, EPOLL_CTL_MOD);
    }
}

/* --- replies ------------------------------------------------------------- */

static const char *value_of(const char *line, const char *key)
{
    const char *at = strstr(line, key);
    if (!at)
        return NULL;
    at += strlen(key);
    at += strspn(at, " \t");
    if (*at++ != ':')
        return NULL;
    return at + strspn(at, " \t");
}

static struct request answered(struct connection *c, int64_t id, const char *line)
{
    for (int i = 0; i < c->waiting; i++) {
        if (c->unanswered[i].id != id)
            continue;
        struct request found = c->unanswered[i];
        memmove(c->unanswered + i, c->unanswered + i + 1, (--c->waiting - i) * sizeof found);
        return found;
    }
    die("an answer to a request that was not made: %s", line);
    abort();
}

static void note(int64_t nanoseconds)
{
    int64_t us = nanoseconds / 1000, ms = us / 1000;
    if (mode == ROUNDTRIP)
        trips[trips_done++] = nanoseconds;
    else if (us < FINE)
        fine[us]++;
    else
        coarse[ms < COARSE ? ms : COARSE - 1]++;
}

static void leave(struct connection *c, int64_t at)
{
    if (c->phase == RUNNING && c->waiting == 0) {
        c->phase = LEAVING;
        add(c, BYE, 0, at);
    }
}

static void hear(struct connection *c, const char *line, int64_t at)
{
    const char *ok = value_of(line, "\"ok\""), *id = value_of(line, "\"id\"");
    if (!ok)
        return; /* an event */
    if (strncmp(ok, "true", 4) != 0 || !id)
        die("refused: %s", line);
    struct request request = answered(c, strtoll(id, NULL, 10), line);
    last_answer = at;
    if (request.operation == HELLO) {
        c->phase = RUNNING;
        welcomed++;
        return;
    }
    if (request.operation == BYE) {
        c->phase = GONE;
        gone++;
        return;
    }
    if (!is_stopping) {
        operations++;
        grants += request.operation == TAKE;
        note(at - request.sent);
        if (mode == ROUNDTRIP && trips_done == trips_wanted)
            is_stopping = 1;
    }
    if (request.operation == TAKE && mode == CHECKOUT)
        add(c, RETURN, request.id, at);
    else if (!is_stopping)
        start_operation(c, at);
    else
        leave(c, at);
}

static void read_all(struct connection *c)
{
    if (c->in_used)
        memcpy(scratch, c->in, c->in_used);
    ssize_t arrived = recv(c->socket, scratch + c->in_used, IN_ROOM - 1 - c->in_used, 0);
    if (arrived < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (arrived <= 0 && c->phase == GONE) {
        epoll_ctl(poll_fd, EPOLL_CTL_DEL, c->socket, NULL);
        return;
    }
    if (arrived <= 0)
        die("connection %d: %s", (int)(c - connections), arrived ? strerror(errno) : "the server closed it");
    size_t used = c->in_used + arrived, start = 0;
    int64_t at = now_ns();
    char *end;
    while ((end = memchr(scratch + start, '\n', used - start))) {
        *end = 0;
        hear(c, scratch + start, at);
        start = end - scratch + 1;
    }
    if (used - start == IN_ROOM - 1)
        die("a reply of more than %d bytes", IN_ROOM);
    free(c->in);
    c->in_used = used - start;
    c->in = c->in_used ? reserve(c->in_used) : NULL;
    if (c->in_used)
        memcpy(c->in, scratch + start, c->in_used);
    flush_out(c);
}

static void turn(int milliseconds)
{
    struct epoll_event events[512];
    int ready = epoll_wait(poll_fd, events, 512, milliseconds);
    if (ready < 0 && errno != EINTR)
        die("epoll: %s", strerror(errno));
    for (int i = 0; i < ready; i++) {
        struct connection *c = events[i].data.ptr;
        if (events[i].events & EPOLLOUT)
            flush_out(c);
        if (events[i].events & ~EPOLLOUT)
            read_all(c);
    }
    if (now_ns() - last_answer > (int64_t)SILENCE * 1000000000)
        die("no answer for %d s", SILENCE);
}

/* --- the run ------------------------------------------------------------- */

static void dial(struct connection *c, const struct addrinfo *to)
{
    int one = 1;
    c->socket = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->socket < 0)
        die("socket: %s", strerror(errno));
    if (connect(c->socket, to->ai_addr, to->ai_addrlen) < 0)
        die("connection %d: %s", (int)(c - connections), strerror(errno));
    setsockopt(c->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->socket, F_SETFL, O_NONBLOCK);
    c->unanswered = reserve((depth + 1) * sizeof *c->unanswered);
    c->out_room = (size_t)(depth + 1) * LONGEST_REQUEST;
    c->out = reserve(c->out_room);
    watch(c, EPOLL_CTL_ADD);
    add(c, HELLO, 0, now_ns());
    flush_out(c);
}

static double percentile(double share)
{
    int64_t wanted = operations * share, seen = 0;
    for (int i = 0; i < FINE; i++)
        if ((seen += fine[i]) > wanted)
            return i;
    for (int i = 0; i < COARSE; i++)
        if ((seen += coarse[i]) > wanted)
            return i * 1000.0;
    return 0;
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void report(const char *name, double seconds)
{
    double p50 = percentile(0.50), p99 = percentile(0.99);
    if (mode == ROUNDTRIP) {
        qsort(trips, trips_done, sizeof *trips, by_size);
        p50 = trips[trips_done / 2] / 1000.0;
        p99 = trips[(int64_t)(trips_done * 0.99)] / 1000.0;
    }
    printf("{\"mode\":\"%s\",\"connections\":%d,\"depth\":%d,\"seconds\":%.3f,\"operations\":%lld,"
           "\"ops_per_second\":%.1f,\"grants\":%lld,\"grants_per_second\":%.1f,\"p50_us\":%.1f,\"p99_us\":%.1f}\n",
           name, count, depth, seconds, (long long)operations, operations / seconds, (long long)grants,
           grants / seconds, p50, p99);
}

static void run(double seconds)
{
    int64_t begun = now_ns(), end = begun + (int64_t)(seconds * 1e9);
    for (int i = 0; i < count; i++) {
        for (int slot = 0; slot < depth; slot++)
            start_operation(&connections[i], now_ns());
        flush_out(&connections[i]);
    }
    last_answer = begun;
    while (!is_stopping) {
        turn(100);
        if (mode != ROUNDTRIP && now_ns() >= end)
            is_stopping = 1;
    }
}

static void finish(void)
{
    while (gone < count) {
        for (int i = 0; i < count; i++) {
            leave(&connections[i], now_ns());
            flush_out(&connections[i]);
        }
        turn(10);
    }
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"heartbeat", "checkout", "grants", "roundtrip"};
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *to;
    struct rlimit files;

    if (argc < 6 || argc > 8)
        die("usage: load HOST PORT CONNECTIONS heartbeat|checkout|grants|roundtrip SECONDS|COUNT [DEPTH [FEATURE]]");
    count = atoi(argv[3]);
    while (mode <= ROUNDTRIP && strcmp(argv[4], names[mode]) != 0)
        mode++;
    double amount = atof(argv[5]);
    depth = argc > 6 ? atoi(argv[6]) : 1;
    feature = argc > 7 ? argv[7] : feature;
    if (mode > ROUNDTRIP)
        die("\"%s\" is no mode: heartbeat, checkout, grants or roundtrip", argv[4]);
    if (count < 1 || amount <= 0 || depth < 1 || depth > DEEPEST)
        die("CONNECTIONS and SECONDS are above zero, DEPTH is 1 to %d", DEEPEST);
    if (mode == ROUNDTRIP) {
        count = depth = 1;
        trips_wanted = amount;
        trips = reserve((trips_wanted + 1) * sizeof *trips);
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    int problem = getaddrinfo(argv[1], argv[2], &hints, &to);
    if (problem)
        die("%s: %s", argv[1], gai_strerror(problem));
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    connections = reserve(count * sizeof *connections);
    last_answer = now_ns();
    for (int i = 0; i < count; i++)
        dial(&connections[i], to);
    freeaddrinfo(to);
    while (welcomed < count)
        turn(100);
    int64_t begun = now_ns();
    run(amount);
    double taken = (now_ns() - begun) / 1e9;
    finish();
    report(names[mode], taken);
    return 0;
}
