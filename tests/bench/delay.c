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
 * and ends to the microsecond (exact.h). A connection is the client's to close.
 */
#include "exact.h"

enum { CONNECTIONS = 65536, QUEUE = 65536, LATEST = 100000 };

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

static void enqueue(int fd, int64_t received) {
    if (count == QUEUE) return; /* the client's timeout tells of it */
    request *last = &queue[(first + count++) % QUEUE];
    *last = (request){.due = received + delay, .opened = connections[fd].opened, .fd = fd};
    if (count == 1) wake_at(last->due);
}

static int64_t next_due(void) { return count > 0 ? queue[first].due : INT64_MAX; }

static void answer_due(void) {
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

static void bytes_came(int fd) {
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
    serve(begin(CLOCK_MONOTONIC));
    printf("%llu %u %u %u\n", (unsigned long long)answers, percentile(0.5), percentile(0.99),
           percentile(1));
    return 0;
}
