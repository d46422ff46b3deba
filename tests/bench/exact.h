/*
 * What delay.c and relay.c share: a server on 127.0.0.1 that answers to the microsecond.
 *
 * A timer wakes a process some 0.1 ms late, so it is set that much too early and the rest is spun
 * away. The including program defines its queue of answers, as next_due() and answer_due(), and
 * what it does with a new connection and with bytes, as greet() and bytes_came().
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
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

enum { EVENTS = 256 };
static const int64_t SECOND = 1000000000, EARLY = 200000; /* nanoseconds */

static clockid_t clock_used; /* of all moments: CLOCK_MONOTONIC or CLOCK_REALTIME */
static int poller, timer;
static volatile sig_atomic_t over;

static int64_t next_due(void); /* when the next answer is due; INT64_MAX if none waits */
static void answer_due(void);
static void greet(int listener);
static void bytes_came(int fd);

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

static int64_t now(void) { return clock_of(clock_used); }

static void watch(int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0) fail("epoll_ctl");
}

static void wake_at(int64_t due) {
    due -= EARLY;
    struct itimerspec at = {.it_value = {due / SECOND, due % SECOND}};
    if (timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL) < 0) fail("timerfd_settime");
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

/* Return a socket that listens, and print its port and whether we have real-time priority. */
static int begin(clockid_t clock) {
    clock_used = clock;
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
    timer = timerfd_create(clock, TFD_NONBLOCK | TFD_CLOEXEC);
    if (timer < 0) fail("timerfd_create");
    watch(listener);
    watch(timer);
    printf("%d %s\n", ntohs(place.sin_port), real_time ? "real-time" : "ordinary");
    return listener;
}

/* Serve until SIGTERM. */
static void serve(int listener) {
    /* Let in only while we wait, so that it comes neither too early nor too late */
    sigset_t blocked, waiting;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, &waiting);
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = stop}, NULL);
    fflush(stdout);

    struct epoll_event events[EVENTS];
    while (!over) {
        int64_t due = next_due();
        int soon = due != INT64_MAX && due - now() <= EARLY;
        int found = epoll_pwait(poller, events, EVENTS, soon ? 0 : -1, &waiting);
        /* What is due goes first: new requests can wait, theirs is a long time off */
        if (found >= 0) {
            uint64_t expirations;
            if (read(timer, &expirations, sizeof expirations) < 0 && errno != EAGAIN) fail("read");
            answer_due();
        }
        for (int at = 0; at < found; at++) {
            int fd = events[at].data.fd;
            if (fd == listener) greet(listener);
            else if (fd != timer) bytes_came(fd);
        }
    }
}
