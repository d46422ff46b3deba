/*
 * A relay before a TLS 1.3 server, which takes down when its clients' steps came; on 127.0.0.1.
 *
 *     relay PORT MICROSECONDS
 *
 * Passes bytes between its clients and the server at PORT unchanged, and so needs no keys: what it
 * must know stands in the open, the name that a client asks for and the heads of its records. After
 * a client's request the server's answer is held back until exactly so long has gone by.
 *
 * Prints its port and whether the system gave it real-time priority, then serves until SIGTERM, and
 * then prints a line for each answer: the client's name, when it was connected in nanoseconds of
 * CLOCK_REALTIME, and from then on in nanoseconds when its Finished came, its request, and its
 * answer's first byte went.
 */
#include "exact.h"

enum { DESCRIPTORS = 65536, QUEUE = 65536, HELLO = 4096, ANSWER = 16384 };
enum { HEAD = 5, APPLICATION_DATA = 23, NAME = 64 };

typedef struct {
    char name[NAME];
    int64_t connected, finished, requested; /* nanoseconds of CLOCK_REALTIME; 0 until then */
    int64_t number; /* which connection this is: descriptors are used again */
    int client, server, answered;
    unsigned head, left, encrypted; /* of the client's records */
    unsigned char kind[HEAD];
    unsigned hello_size, held_size;
    unsigned char hello[HELLO], held[ANSWER];
} connection;

typedef struct {
    connection *of;
    int64_t due, number; /* due in nanoseconds of CLOCK_REALTIME */
} answer;

static connection *by_descriptor[DESCRIPTORS], *spare[DESCRIPTORS];
static answer queue[QUEUE]; /* a ring: all wait equally long, so the first is due first */
static unsigned first, count, spares;
static int64_t delay, numbers;
static int server_port;
static char *lines;
static size_t lines_size;
static FILE *log_stream;

static void pass_on(int fd, const unsigned char *data, size_t size) {
    /* Never more than fits into the buffer of a socket on loopback */
    if (send(fd, data, size, MSG_NOSIGNAL) != (ssize_t)size && errno != EPIPE && errno != ECONNRESET)
        fail("send");
}

static void close_both(connection *one) {
    by_descriptor[one->client] = by_descriptor[one->server] = NULL;
    close(one->client);
    close(one->server);
    one->number = 0;
    spare[spares++] = one;
}

static int64_t next_due(void) { return count > 0 ? queue[first].due : INT64_MAX; }

static void answer_due(void) {
    while (count > 0 && queue[first].due <= now()) {
        answer *head = &queue[first];
        connection *one = head->of;
        first = (first + 1) % QUEUE;
        count--;
        if (one->number != head->number) continue; /* the client has left */
        int64_t sent = now();
        pass_on(one->client, one->held, one->held_size);
        one->answered = 1;
        fprintf(log_stream, "%s %lld %lld %lld %lld\n", one->name, (long long)one->connected,
                (long long)(one->finished - one->connected),
                (long long)(one->requested - one->connected), (long long)(sent - one->connected));
    }
    if (count > 0) wake_at(queue[first].due);
}

static void greet(int listener) {
    int fd, yes = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        int64_t connected = now();
        int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons(server_port),
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        if (connect(server, (struct sockaddr *)&place, sizeof place) < 0) fail("connect");
        if (fd >= DESCRIPTORS || server >= DESCRIPTORS) fail("descriptors");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &yes, sizeof yes);
        setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        connection *one = spares > 0 ? spare[--spares] : malloc(sizeof *one);
        if (one == NULL) fail("malloc");
        memset(one, 0, offsetof(connection, hello));
        one->connected = connected;
        one->number = ++numbers;
        one->client = fd;
        one->server = server;
        by_descriptor[fd] = by_descriptor[server] = one;
        watch(fd);
        watch(server);
    }
}

static unsigned number_at(const unsigned char *at) { return at[0] << 8 | at[1]; }

/* Read the server name of a ClientHello (RFC 8446 4.1.2, RFC 6066 3); "-" where there is none. */
static void read_name(connection *one) {
    const unsigned char *at = one->hello + HEAD + 4 + 2 + 32, *end = one->hello + one->hello_size;
    strcpy(one->name, "-");
    if (at >= end) return;
    at += 1 + at[0]; /* session */
    if (at + 2 > end) return;
    at += 2 + number_at(at); /* ciphers */
    if (at + 1 > end) return;
    at += 1 + at[0] + 2; /* compression; the size of all extensions */
    while (at + 4 <= end) {
        unsigned kind = number_at(at), size = number_at(at + 2);
        at += 4;
        if (kind == 0 && size > 5 && at + size <= end) {
            unsigned length = number_at(at + 3);
            if (length >= NAME || length > size - 5) return;
            memcpy(one->name, at + 5, length);
            one->name[length] = 0;
            return;
        }
        at += size;
    }
}

/* Follow a client's records: the first encrypted one is its Finished, the second its request. */
static void follow(connection *one, const unsigned char *data, size_t size, int64_t received) {
    for (size_t at = 0; at < size;) {
        if (one->head < HEAD) {
            one->kind[one->head++] = data[at++];
            if (one->head == HEAD) one->left = number_at(one->kind + 3);
            continue;
        }
        size_t taken = one->left < size - at ? one->left : size - at;
        one->left -= taken;
        at += taken;
        if (one->left > 0) continue;
        one->head = 0;
        if (one->kind[0] != APPLICATION_DATA) continue;
        one->encrypted++;
        if (one->encrypted == 1) one->finished = received;
        if (one->encrypted == 2) {
            one->requested = received;
            if (count == QUEUE) fail("queue");
            answer *last = &queue[(first + count++) % QUEUE];
            *last = (answer){.of = one, .due = received + delay, .number = one->number};
            if (count == 1) wake_at(last->due);
        }
    }
}

static void from_client(connection *one) {
    static unsigned char data[65536];
    _Alignas(struct cmsghdr) char control[256];
    struct msghdr message = {
        .msg_iov = &(struct iovec){data, sizeof data},
        .msg_iovlen = 1,
        .msg_control = control,
        .msg_controllen = sizeof control,
    };
    ssize_t size = recvmsg(one->client, &message, 0);
    if (size < 0 && errno == EAGAIN) return;
    if (size <= 0) {
        close_both(one);
        return;
    }
    int64_t stamp = received(&message);
    if (one->encrypted == 0 && one->hello_size < HELLO) {
        size_t room = HELLO - one->hello_size, taken = (size_t)size < room ? (size_t)size : room;
        memcpy(one->hello + one->hello_size, data, taken);
        one->hello_size += taken;
    }
    pass_on(one->server, data, size);
    follow(one, data, size, stamp);
    if (one->name[0] == 0 && one->finished != 0) read_name(one);
}

static void from_server(connection *one) {
    static unsigned char data[65536];
    ssize_t size = recv(one->server, data, sizeof data, MSG_DONTWAIT);
    if (size < 0 && errno == EAGAIN) return;
    if (size <= 0) {
        close_both(one);
    } else if (one->requested == 0 || one->answered) {
        pass_on(one->client, data, size);
    } else {
        if (one->held_size + size > ANSWER) fail("answer");
        memcpy(one->held + one->held_size, data, size);
        one->held_size += size;
    }
}

static void bytes_came(int fd) {
    connection *one = by_descriptor[fd];
    if (one == NULL) return; /* it was closed with its other end */
    if (fd == one->client) from_client(one);
    else from_server(one);
}

int main(int argc, char **argv) {
    server_port = argc == 3 ? atoi(argv[1]) : 0;
    delay = argc == 3 ? atoll(argv[2]) * 1000 : 0;
    if (server_port <= 0 || delay <= 0) {
        fputs("usage: relay PORT MICROSECONDS\n", stderr);
        return 2;
    }
    if ((log_stream = open_memstream(&lines, &lines_size)) == NULL) fail("open_memstream");
    serve(begin(CLOCK_REALTIME));
    fclose(log_stream);
    fwrite(lines, 1, lines_size, stdout);
    return 0;
}
