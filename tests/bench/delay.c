/*
 * An HTTP server that answers each request after exactly so many microseconds; on 127.0.0.1.
 *
 *     delay MICROSECONDS
 *
 * Prints its port and whether the system gave it real-time priority, then serves until SIGTERM,
 * and then says how many it answered and how late: the 50th and 99th percentile and the largest,
 * in microseconds from when an answer was due until it was written.
 *
 * All requests wait equally long, so they are due in the order in which they came: one queue and
 * one timer do. The wait begins when the kernel received a request, not when we come to read it,
 * and ends to the microsecond: a timer wakes a process some 0.1 ms late, so it is set that much too
 * early and the rest is spun away. A connection is the client's to close.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS = 65536, QUEUE = 65536, EVENTS = 256, LATEST = 100000 };
static const int64_t SECOND = 1000000000, EARLY = 200000; /* nanoseconds */

static const char END[] = "\r\n\r\n";
static const char ANSWER[] =
    "HTTP/1.1 200 OK\r\nServer: delay\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\n"
    "all is well\n";

typedef struct {
    uint64_t opened; /* which connection this is: descriptors are used again */
    unsigned matched; /* how much of END was read */
} connection;

typedef struct {
    int64_t due; /* nanoseconds of CLOCK_MONOTONIC */
    uint64_t opened;
    int fd;
} request;

static connection connections[CONNECTIONS]; /* by descriptor */
static request queue[QUEUE];
static unsigned first, count; /* of the queue, which is a ring */
static uint32_t lateness[LATEST + 1]; /* answers by microseconds */
static uint64_t answers, opened;
static int64_t delay;
static int poller, timer;
static volatile sig_atomic_t over;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void stop(int number) {
    (void)number;
    over = 1;
}

static int64_t nanoseconds(const struct timespec *time) {
    return time->tv_sec * SECOND + time->tv_nsec;
}

static int64_t clock_of(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return nanoseconds(&time);
}

static int64_t now(void) { return clock_of(CLOCK_MONOTONIC); }

static void watch(int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0) fail("epoll_ctl");
}

static void wake_at(int64_t due) {
    due -= EARLY;
    struct itimerspec at = {.it_value = {due / SECOND, due % SECOND}};
    if (timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL) < 0) fail("timerfd_settime");
}

static void enqueue(int fd, int64_t received) {
    if (count == QUEUE) return; /* the client's timeout tells of it */
    request *last = &queue[(first + count++) % QUEUE];
    *last = (request){.due = received + delay, .opened = connections[fd].opened, .fd = fd};
    if (count == 1) wake_at(last->due);
}

static void answer_due(void) {
    uint64_t expirations;
    if (read(timer, &expirations, sizeof expirations) < 0 && errno != EAGAIN) fail("read");
    while (count > 0 && queue[first].due <= now()) {
        request head = queue[first];
        first = (first + 1) % QUEUE;
        count--;
        if (connections[head.fd].opened != head.opened) continue; /* the client has left */
        if (send(head.fd, ANSWER, sizeof ANSWER - 1, MSG_NOSIGNAL) < 0) continue;
        int64_t late = (now() - head.due) / 1000;
        lateness[late < LATEST ? late : LATEST]++;
        answers++;
    }
    if (count > 0) wake_at(queue[first].due);
}

static void greet(int listener) {
    int fd, yes = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (fd >= CONNECTIONS) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &yes, sizeof yes);
        connections[fd] = (connection){.opened = ++opened};
        watch(fd);
    }
}

/* Return when the kernel received what a message brought; now, where it does not say. */
static int64_t received(struct msghdr *message) {
    for (struct cmsghdr *one = CMSG_FIRSTHDR(message); one; one = CMSG_NXTHDR(message, one)) {
        if (one->cmsg_level != SOL_SOCKET || one->cmsg_type != SCM_TIMESTAMPNS) continue;
        struct timespec stamp;
        memcpy(&stamp, CMSG_DATA(one), sizeof stamp);
        return now() - (clock_of(CLOCK_REALTIME) - nanoseconds(&stamp));
    }
    return now();
}

static void listen_to(int fd) {
    char text[4096];
    _Alignas(struct cmsghdr) char control[256];
    struct msghdr message = {
        .msg_iov = &(struct iovec){text, sizeof text},
        .msg_iovlen = 1,
        .msg_control = control,
        .msg_controllen = sizeof control,
    };
    ssize_t size = recvmsg(fd, &message, 0);
    if (size < 0 && errno == EAGAIN) return;
    if (size <= 0) {
        connections[fd].opened = 0;
        close(fd);
        return;
    }
    unsigned matched = connections[fd].matched;
    for (ssize_t at = 0; at < size; at++) {
        matched = text[at] == END[matched] ? matched + 1 : text[at] == END[0];
        if (matched == sizeof END - 1) {
            enqueue(fd, received(&message));
            matched = 0;
        }
    }
    connections[fd].matched = matched;
}

static unsigned percentile(double share) {
    uint64_t reached = 0;
    for (unsigned late = 0; late <= LATEST; late++) {
        reached += lateness[late];
        if (reached > 0 && reached >= share * answers) return late;
    }
    return 0;
}

int main(int argc, char **argv) {
    delay = argc == 2 ? atoll(argv[1]) * 1000 : 0;
    if (delay <= 0) {
        fputs("usage: delay MICROSECONDS\n", stderr);
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    prctl(PR_SET_TIMERSLACK, 1);
    /* Whoever measures must not wait for the processor behind those who are measured */
    int real_time = sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){1}) == 0;

    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof place;
    if (bind(listener, (struct sockaddr *)&place, size) < 0) fail("bind");
    if (listen(listener, 4096) < 0) fail("listen");
    if (getsockname(listener, (struct sockaddr *)&place, &size) < 0) fail("getsockname");
    if ((poller = epoll_create1(EPOLL_CLOEXEC)) < 0) fail("epoll_create1");
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (timer < 0) fail("timerfd_create");
    watch(listener);
    watch(timer);

    /* Let in only while we wait, so that it comes neither too early nor too late */
    sigset_t blocked, waiting;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, &waiting);
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = stop}, NULL);
    printf("%d %s\n", ntohs(place.sin_port), real_time ? "real-time" : "ordinary");
    fflush(stdout);

    struct epoll_event events[EVENTS];
    while (!over) {
        int soon = count > 0 && queue[first].due - now() <= EARLY;
        int found = epoll_pwait(poller, events, EVENTS, soon ? 0 : -1, &waiting);
        /* What is due goes first: new requests can wait, theirs is a long time off */
        if (found >= 0) answer_due();
        for (int at = 0; at < found; at++) {
            int fd = events[at].data.fd;
            if (fd == listener) greet(listener);
            else if (fd != timer) listen_to(fd);
        }
    }
    printf("%llu %u %u %u\n", (unsigned long long)answers, percentile(0.5), percentile(0.99),
           percentile(1));
    return 0;
}
