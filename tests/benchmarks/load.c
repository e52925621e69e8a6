/*
 * A load generator for streamed answers: HTTP/1.1 over loopback, one thread, one epoll.
 *
 *   load -p PORT -u PATH -f ndjson|sse|openai|array -b BODY [-h HEADER]... -c CLIENTS -t TOKENS
 *        (-n REQUESTS | -s SECONDS) [-r RAMP_MS] [-e PACE] [-l LIMIT_SECONDS]
 *
 * Every client sends its requests one after the other on one connection; the first requests start spread over RAMP_MS,
 * at seeded random distances. BODY holds "#0000000000"; the digits become the request's own number. fake_ollama.c says
 * how tokens come back; an answer counts as complete when its TOKENS tokens are its own, in order, none missing, none
 * twice, and it ends as its format has it. With -s no request starts after SECONDS, rates count what arrived within
 * them, and what runs is read to its end. After LIMIT_SECONDS what is still open counts as unfinished.
 *
 * Durations start when a request was to be sent, the connection included, and end when its bytes were read. A token is
 * on time when it arrives within a second of request start + SEQ / PACE. The result is one JSON object on stdout.
 */
#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    EVENTS_PER_WAIT = 256,
    HEADERS_MAX = 8,
    READ_MAX = 64 * 1024,
    REQUEST_MAX = 16 * 1024,
    ERROR_MAX = 200,
    ID_DIGITS = 10,
};

static const int64_t NS_PER_S = 1000000000;
static const int64_t NS_PER_MS = 1000000;

enum format { NDJSON, SSE, OPENAI, ARRAY };

static struct {
    int port;
    const char *path;
    enum format format;
    const char *body;
    const char *headers[HEADERS_MAX];
    int header_count;
    int clients;
    int64_t tokens;
    int64_t requests; /* per client; 0: until window_ns */
    int64_t window_ns;
    int64_t ramp_ns;
    int64_t interval_ns; /* between tokens, by the pace */
    int64_t limit_ns;
} options = {.path = "/", .clients = 1, .tokens = 1, .limit_ns = 60000000000};

/* ---- what is measured ---- */

struct samples {
    int64_t *values; /* nanoseconds */
    size_t count;
    size_t room;
};

static struct {
    struct samples first_byte, first_token, reached_model, gap, age, total, queue;
    int64_t sent; /* requests; what became of them: */
    int64_t complete, wrong, failed, refused, broken, unfinished;
    int64_t tokens, tokens_on_time, tokens_in_window, complete_in_window;
    int64_t reads, bytes;
    int64_t last_complete_ns;
    char first_error[ERROR_MAX + 1];
} results;

static void die(const char *what)
{
    perror(what);
    exit(EXIT_FAILURE);
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * NS_PER_S + now.tv_nsec;
}

static void add(struct samples *samples, int64_t value)
{
    if (samples->count == samples->room) {
        samples->room = samples->room == 0 ? 4096 : 2 * samples->room;
        samples->values = realloc(samples->values, samples->room * sizeof *samples->values);
        if (samples->values == NULL)
            die("realloc");
    }
    samples->values[samples->count++] = value;
}

static void remember_error(const char *text, size_t length)
{
    if (results.first_error[0] != '\0')
        return;
    length = length < ERROR_MAX ? length : ERROR_MAX;
    for (size_t i = 0; i < length; i++) /* plain enough to stand in a JSON string */
        results.first_error[i] = text[i] < ' ' || text[i] == '"' || text[i] == '\\' ? '\'' : text[i];
}

/* ---- a client ---- */

enum phase { NOT_STARTED, SENDING, READING_HEAD, READING_BODY, FINISHED };
enum chunk_part { CHUNK_SIZE, CHUNK_DATA, CHUNK_END };

struct client {
    int fd; /* -1: not connected */
    enum phase phase;
    int64_t start_ns; /* when the request was to be sent */
    int64_t request_number;
    int64_t requests_started;
    size_t request_sent;
    bool watches_writable;

    struct {
        int status;
        bool chunked;
        bool close_after;
        enum chunk_part chunk_part;
        int64_t remaining; /* bytes of the chunk, or of the body */
        bool last_chunk;
        bool whole;        /* all of it was read */
    } response;

    struct {
        enum { OTHER_EVENT, CHUNK_EVENT, ERROR_EVENT } event; /* of the SSE data that follows */
        int64_t next_token;                                   /* the SEQ that must come next */
        int64_t last_token_ns;
        bool first_byte_seen;
        bool wrong;    /* a token was missing, doubled or somebody else's */
        bool finished; /* OpenAI's reason to finish was seen */
        bool done;     /* the format's own end was seen */
        bool failed;   /* an error came instead of it */
    } answer;

    char *held; /* the head, or the line, that is not whole yet */
    size_t held_length;
    size_t held_room;
};

static struct client *clients;
static int epoll_fd;
static int64_t begin_ns;
static int clients_finished;
static char request[REQUEST_MAX];
static size_t request_length;
static char *request_id; /* its digits */

static void hold(struct client *client, const char *bytes, size_t length)
{
    if (client->held_length + length > client->held_room) {
        client->held_room = 2 * (client->held_length + length);
        client->held = realloc(client->held, client->held_room);
        if (client->held == NULL)
            die("realloc");
    }
    memcpy(client->held + client->held_length, bytes, length);
    client->held_length += length;
}

/* ---- the tokens of an answer ---- */

/* Reads digits up to `end`; -1 when `text` does not start with one. */
static int64_t read_number(const char **text, const char *end)
{
    int64_t number = -1;
    for (; *text < end && **text >= '0' && **text <= '9'; (*text)++)
        number = (number < 0 ? 0 : 10 * number) + (**text - '0');
    return number;
}

static void count_token(struct client *client, int64_t written_ns, int64_t now)
{
    if (client->answer.next_token == 0) {
        add(&results.first_token, now - client->start_ns);
        add(&results.reached_model, written_ns - client->start_ns);
    } else {
        add(&results.gap, now - client->answer.last_token_ns);
    }
    add(&results.age, now - written_ns);
    int64_t due_ns = client->start_ns + client->answer.next_token * options.interval_ns;
    results.tokens++;
    results.tokens_on_time += now <= due_ns + NS_PER_S;
    results.tokens_in_window += now <= begin_ns + options.window_ns;
    client->answer.last_token_ns = now;
    client->answer.next_token++;
}

static void read_tokens(struct client *client, const char *text, const char *end, int64_t now)
{
    while ((text = memchr(text, '#', (size_t)(end - text))) != NULL) {
        text++;
        int64_t number = read_number(&text, end);
        int64_t sequence = text < end && *text == '.' ? (text++, read_number(&text, end)) : -1;
        int64_t written_ns = text < end && *text == '@' ? (text++, read_number(&text, end)) : -1;
        if (number == client->request_number && sequence == client->answer.next_token && written_ns >= 0)
            count_token(client, written_ns, now);
        else
            client->answer.wrong = true;
    }
}

static bool contains(const char *text, size_t length, const char *part)
{
    return memmem(text, length, part, strlen(part)) != NULL;
}

/* Our own closing chunk tells how long the job was queued, in milliseconds. */
static void read_queue_time(const char *text, size_t length)
{
    static const char key[] = "\"queue_ms\":";
    const char *found = memmem(text, length, key, sizeof key - 1);
    if (found != NULL)
        add(&results.queue, (int64_t)(strtod(found + sizeof key - 1, NULL) * (double)NS_PER_MS));
}

static void read_message(struct client *client, const char *text, size_t length, int64_t now)
{
    client->answer.wrong |= client->answer.done; /* nothing comes after the end */
    read_tokens(client, text, text + length, now);
    if (contains(text, length, "\"done\":true")) {
        client->answer.done = true;
        read_queue_time(text, length);
    }
}

static void fail(struct client *client, const char *text, size_t length)
{
    client->answer.failed = true;
    remember_error(text, length);
}

static void read_sse_line(struct client *client, const char *line, size_t length, int64_t now)
{
    if (length > 7 && memcmp(line, "event: ", 7) == 0) {
        if (length == 12 && memcmp(line + 7, "chunk", 5) == 0)
            client->answer.event = CHUNK_EVENT;
        else if (length == 12 && memcmp(line + 7, "error", 5) == 0)
            client->answer.event = ERROR_EVENT;
        else
            client->answer.event = OTHER_EVENT;
    } else if (length > 6 && memcmp(line, "data: ", 6) == 0) {
        if (client->answer.event == CHUNK_EVENT)
            read_message(client, line + 6, length - 6, now);
        else if (client->answer.event == ERROR_EVENT)
            fail(client, line + 6, length - 6);
    }
}

/* A chunk of OpenAI's; the end is [DONE], after a reason to finish, and tokens come before both. */
static void read_openai_chunk(struct client *client, const char *text, size_t length, int64_t now)
{
    static const char error[] = "{\"error\"";
    static const char end[] = "[DONE]";
    int64_t tokens = client->answer.next_token;
    client->answer.wrong |= client->answer.done;
    if (length >= sizeof error - 1 && memcmp(text, error, sizeof error - 1) == 0) {
        fail(client, text, length);
    } else if (length == sizeof end - 1 && memcmp(text, end, sizeof end - 1) == 0) {
        client->answer.done = client->answer.finished;
    } else {
        read_tokens(client, text, text + length, now);
        client->answer.wrong |= client->answer.finished && client->answer.next_token != tokens;
        client->answer.finished |= contains(text, length, "\"finish_reason\":\"");
    }
}

static void read_openai_line(struct client *client, const char *line, size_t length, int64_t now)
{
    if (length > 6 && memcmp(line, "data: ", 6) == 0)
        read_openai_chunk(client, line + 6, length - 6, now);
    else if (length > 0 && line[0] != ':') /* only comments may carry anything else */
        client->answer.wrong = true;
}

static void read_line(struct client *client, const char *line, size_t length, int64_t now)
{
    if (client->response.status != 200 || (options.format == NDJSON && contains(line, length, "\"error\"")))
        fail(client, line, length);
    else if (options.format == SSE)
        read_sse_line(client, line, length, now);
    else if (options.format == OPENAI)
        read_openai_line(client, line, length, now);
    else
        read_message(client, line, length, now);
}

static void read_body(struct client *client, const char *bytes, size_t length, int64_t now)
{
    if (!client->answer.first_byte_seen) {
        client->answer.first_byte_seen = true;
        add(&results.first_byte, now - client->start_ns);
    }
    const char *end = bytes + length;
    const char *newline;
    while ((newline = memchr(bytes, '\n', (size_t)(end - bytes))) != NULL) {
        if (client->held_length > 0) {
            hold(client, bytes, (size_t)(newline - bytes));
            read_line(client, client->held, client->held_length, now);
            client->held_length = 0;
        } else {
            read_line(client, bytes, (size_t)(newline - bytes), now);
        }
        bytes = newline + 1;
    }
    if (bytes < end)
        hold(client, bytes, (size_t)(end - bytes));
}

/* ---- requests ---- */

static void watch(struct client *client, int operation, bool writable)
{
    struct epoll_event event = {.events = writable ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = client};
    if (epoll_ctl(epoll_fd, operation, client->fd, &event) < 0)
        die("epoll_ctl");
    client->watches_writable = writable;
}

static void disconnect(struct client *client)
{
    close(client->fd);
    client->fd = -1;
}

static void connect_to_target(struct client *client)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)options.port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->fd < 0)
        die("socket");
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (connect(client->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS)
        die("connect");
    watch(client, EPOLL_CTL_ADD, true);
}

static void prepare_request(void)
{
    int length = snprintf(request, sizeof request, "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n", options.path,
                          options.port);
    for (int i = 0; i < options.header_count; i++)
        length += snprintf(request + length, sizeof request - (size_t)length, "%s\r\n", options.headers[i]);
    length += snprintf(request + length, sizeof request - (size_t)length,
                       "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", strlen(options.body),
                       options.body);
    request_length = (size_t)length;
    request_id = strchr(request, '#');
    if (request_length >= sizeof request || request_id == NULL || strspn(++request_id, "0") != ID_DIGITS) {
        fprintf(stderr, "load: the body needs the mark #0000000000, and headers and body %d bytes at most\n",
                REQUEST_MAX);
        exit(EXIT_FAILURE);
    }
}

/* False when the connection broke. */
static bool send_request(struct client *client)
{
    int64_t number = client->request_number;
    for (int digit = ID_DIGITS - 1; digit >= 0; digit--, number /= 10)
        request_id[digit] = (char)('0' + number % 10);
    ssize_t sent =
        send(client->fd, request + client->request_sent, request_length - client->request_sent, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        return false;
    if (sent > 0)
        client->request_sent += (size_t)sent;
    bool whole = client->request_sent == request_length;
    if (whole)
        client->phase = READING_HEAD;
    if (whole == client->watches_writable)
        watch(client, EPOLL_CTL_MOD, !whole);
    return true;
}

static void start_request(struct client *client, int64_t start_ns);

static bool more_to_send(const struct client *client, int64_t now)
{
    if (options.requests > 0)
        return client->requests_started < options.requests;
    return now < begin_ns + options.window_ns;
}

static void count_outcome(struct client *client, int64_t now)
{
    if (client->response.status != 200) {
        results.refused++;
    } else if (client->answer.failed) {
        results.failed++;
    } else if (client->answer.wrong || !client->answer.done || client->answer.next_token != options.tokens) {
        results.wrong++;
    } else {
        results.complete++;
        results.complete_in_window += now <= begin_ns + options.window_ns;
        results.last_complete_ns = now;
        add(&results.total, now - client->start_ns);
    }
}

static void finish(struct client *client)
{
    disconnect(client);
    client->phase = FINISHED;
    clients_finished++;
}

/* A connection that breaks ends its client: it must not hammer a dead server until the time is up. */
static void give_up(struct client *client)
{
    results.broken++;
    finish(client);
}

static void finish_request(struct client *client, int64_t now)
{
    count_outcome(client, now);
    if (!more_to_send(client, now)) {
        finish(client);
        return;
    }
    if (client->response.close_after)
        disconnect(client);
    start_request(client, now);
}

static void start_request(struct client *client, int64_t start_ns)
{
    client->phase = SENDING;
    client->start_ns = start_ns;
    client->request_number = results.sent++;
    client->requests_started++;
    client->request_sent = 0;
    client->held_length = 0;
    memset(&client->response, 0, sizeof client->response);
    memset(&client->answer, 0, sizeof client->answer);
    if (client->fd < 0)
        connect_to_target(client); /* epoll tells when it can be sent */
    else if (!send_request(client))
        give_up(client);
}

/* ---- responses ---- */

static void read_chunked(struct client *client, const char *bytes, const char *end, int64_t now)
{
    while (bytes < end && !client->response.whole) {
        int64_t available = end - bytes;
        switch (client->response.chunk_part) {
        case CHUNK_SIZE:
            if (*bytes == '\n') {
                client->response.last_chunk = client->response.remaining == 0;
                client->response.chunk_part = client->response.last_chunk ? CHUNK_END : CHUNK_DATA;
            } else if (*bytes != '\r') {
                int digit = *bytes <= '9' ? *bytes - '0' : (*bytes | 0x20) - 'a' + 10;
                client->response.remaining = 16 * client->response.remaining + digit;
            }
            bytes++;
            break;
        case CHUNK_DATA:
            available = available < client->response.remaining ? available : client->response.remaining;
            read_body(client, bytes, (size_t)available, now);
            bytes += available;
            client->response.remaining -= available;
            if (client->response.remaining == 0)
                client->response.chunk_part = CHUNK_END;
            break;
        case CHUNK_END:
            if (*bytes == '\n') {
                client->response.whole = client->response.last_chunk;
                client->response.chunk_part = CHUNK_SIZE;
            }
            bytes++;
            break;
        }
    }
}

static void read_response_body(struct client *client, const char *bytes, size_t length, int64_t now)
{
    if (client->response.chunked) {
        read_chunked(client, bytes, bytes + length, now);
    } else {
        read_body(client, bytes, length, now);
        client->response.remaining -= (int64_t)length;
        client->response.whole = client->response.remaining <= 0;
    }
    if (!client->response.whole)
        return;
    if (client->held_length > 0) /* a last line without its newline, or a body that is one line */
        read_line(client, client->held, client->held_length, now);
    finish_request(client, now);
}

static const char *header_value(const char *head, const char *name)
{
    const char *field = strcasestr(head, name);
    return field == NULL ? "" : field + strlen(name);
}

static void read_head(struct client *client, const char *bytes, size_t length, int64_t now)
{
    hold(client, bytes, length);
    char *end = memmem(client->held, client->held_length, "\r\n\r\n", 4);
    if (end == NULL)
        return;
    *end = '\0';
    client->response.status = atoi(header_value(client->held, "HTTP/1.1 "));
    client->response.chunked = strncasecmp(header_value(client->held, "\r\nTransfer-Encoding: "), "chunked", 7) == 0;
    client->response.close_after = strncasecmp(header_value(client->held, "\r\nConnection: "), "close", 5) == 0;
    if (!client->response.chunked)
        client->response.remaining = atoll(header_value(client->held, "\r\nContent-Length: "));
    size_t rest = client->held_length - (size_t)(end + 4 - client->held);
    client->phase = READING_BODY;
    client->held_length = 0;
    if (rest > 0 || (!client->response.chunked && client->response.remaining == 0))
        read_response_body(client, bytes + length - rest, rest, now);
}

static void on_readable(struct client *client)
{
    static char bytes[READ_MAX];
    ssize_t length = recv(client->fd, bytes, sizeof bytes, 0);
    if (length <= 0) {
        if (length == 0 || errno != EAGAIN)
            give_up(client);
        return;
    }
    results.reads++;
    results.bytes += length;
    if (client->phase == READING_HEAD)
        read_head(client, bytes, (size_t)length, now_ns());
    else
        read_response_body(client, bytes, (size_t)length, now_ns());
}

/* ---- the run ---- */

static void on_event(struct client *client, uint32_t events)
{
    if (events & EPOLLOUT) {
        if (!send_request(client))
            give_up(client);
    } else {
        on_readable(client);
    }
}

/* Client i starts at a random point of the i-th part of the ramp: the same ones in every run. */
static void plan_starts(void)
{
    uint32_t random = 1;
    clients = calloc((size_t)options.clients, sizeof *clients);
    if (clients == NULL)
        die("calloc");
    for (int i = 0; i < options.clients; i++) {
        random = 1664525 * random + 1013904223;
        clients[i].fd = -1;
        clients[i].start_ns = begin_ns + (options.ramp_ns / options.clients * i) +
                              (int64_t)((double)random / UINT32_MAX * (double)(options.ramp_ns / options.clients));
    }
}

/* epoll_wait knows milliseconds only; less is waited for by polling the epoll descriptor itself. */
static int wait_for_events(struct epoll_event *events, int64_t until_ns)
{
    int64_t timeout_ns = until_ns - now_ns();
    struct pollfd ready = {.fd = epoll_fd, .events = POLLIN};
    struct timespec timeout = {.tv_nsec = timeout_ns};
    if (timeout_ns >= NS_PER_MS)
        return epoll_wait(epoll_fd, events, EVENTS_PER_WAIT, (int)(timeout_ns / NS_PER_MS));
    if (timeout_ns > 0 && ppoll(&ready, 1, &timeout, NULL) == 0)
        return 0;
    return epoll_wait(epoll_fd, events, EVENTS_PER_WAIT, 0);
}

static void run(void)
{
    struct epoll_event events[EVENTS_PER_WAIT];
    int64_t limit_ns = begin_ns + options.limit_ns;
    int started = 0;
    while (clients_finished < options.clients && now_ns() < limit_ns) {
        while (started < options.clients && clients[started].start_ns <= now_ns()) {
            start_request(&clients[started], clients[started].start_ns);
            started++;
        }
        int64_t until_ns = started < options.clients ? clients[started].start_ns : limit_ns;
        int count = wait_for_events(events, until_ns);
        for (int i = 0; i < count; i++)
            on_event(events[i].data.ptr, events[i].events);
    }
    for (int i = 0; i < started; i++)
        results.unfinished += clients[i].phase != FINISHED;
}

static int compare(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left;
    int64_t b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

/* The nearest rank, in milliseconds, of sorted samples. */
static double percentile(const struct samples *samples, size_t percent)
{
    return (double)samples->values[(samples->count * percent + 99) / 100 - 1] / (double)NS_PER_MS;
}

static void print_samples(const char *name, struct samples *samples)
{
    if (samples->count == 0) {
        printf(",\"%s\":null", name);
        return;
    }
    qsort(samples->values, samples->count, sizeof *samples->values, compare);
    printf(",\"%s\":{\"count\":%zu,\"p50\":%.4f,\"p90\":%.4f,\"p99\":%.4f,\"max\":%.4f}", name, samples->count,
           percentile(samples, 50), percentile(samples, 90), percentile(samples, 99), percentile(samples, 100));
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void print_results(double cpu)
{
    int64_t measured_ns = options.requests > 0 ? results.last_complete_ns - begin_ns : options.window_ns;
    printf("{\"seconds\":%.6f,\"cpu_seconds\":%.6f", (double)measured_ns / (double)NS_PER_S, cpu);
    printf(",\"sent\":%" PRId64 ",\"complete\":%" PRId64 ",\"wrong\":%" PRId64 ",\"failed\":%" PRId64
           ",\"refused\":%" PRId64 ",\"broken\":%" PRId64 ",\"unfinished\":%" PRId64,
           results.sent, results.complete, results.wrong, results.failed, results.refused, results.broken,
           results.unfinished);
    printf(",\"tokens\":%" PRId64 ",\"tokens_on_time\":%" PRId64 ",\"tokens_in_window\":%" PRId64
           ",\"complete_in_window\":%" PRId64 ",\"reads\":%" PRId64 ",\"bytes\":%" PRId64,
           results.tokens, results.tokens_on_time, results.tokens_in_window, results.complete_in_window,
           results.reads, results.bytes);
    print_samples("first_byte_ms", &results.first_byte);
    print_samples("first_token_ms", &results.first_token);
    print_samples("reached_model_ms", &results.reached_model);
    print_samples("gap_ms", &results.gap);
    print_samples("age_ms", &results.age);
    print_samples("total_ms", &results.total);
    print_samples("queue_ms", &results.queue);
    printf(",\"first_error\":\"%s\"}\n", results.first_error);
}

static enum format format_named(const char *name)
{
    if (strcmp(name, "ndjson") == 0)
        return NDJSON;
    if (strcmp(name, "sse") == 0)
        return SSE;
    if (strcmp(name, "openai") == 0)
        return OPENAI;
    if (strcmp(name, "array") == 0)
        return ARRAY;
    fprintf(stderr, "load: a format is ndjson, sse, openai or array, not %s\n", name);
    exit(EXIT_FAILURE);
}

static void add_header(const char *header)
{
    if (options.header_count == HEADERS_MAX) {
        fprintf(stderr, "load: at most %d headers\n", HEADERS_MAX);
        exit(EXIT_FAILURE);
    }
    options.headers[options.header_count++] = header;
}

static void read_options(int argc, char **argv)
{
    int option;
    while ((option = getopt(argc, argv, "p:u:f:b:h:c:t:n:s:r:e:l:")) != -1) {
        switch (option) {
        case 'p': options.port = atoi(optarg); break;
        case 'u': options.path = optarg; break;
        case 'f': options.format = format_named(optarg); break;
        case 'b': options.body = optarg; break;
        case 'h': add_header(optarg); break;
        case 'c': options.clients = atoi(optarg); break;
        case 't': options.tokens = atoll(optarg); break;
        case 'n': options.requests = atoll(optarg); break;
        case 's': options.window_ns = (int64_t)(atof(optarg) * (double)NS_PER_S); break;
        case 'r': options.ramp_ns = atoll(optarg) * NS_PER_MS; break;
        case 'e': options.interval_ns = (int64_t)((double)NS_PER_S / atof(optarg)); break;
        case 'l': options.limit_ns = (int64_t)(atof(optarg) * (double)NS_PER_S); break;
        default: exit(EXIT_FAILURE);
        }
    }
    if (options.port <= 0 || options.body == NULL || options.clients <= 0 ||
        (options.requests > 0) == (options.window_ns > 0)) {
        fprintf(stderr, "load: needs -p, -b, a positive -c, and one of -n and -s\n");
        exit(EXIT_FAILURE);
    }
    if (options.requests > 0)
        options.window_ns = INT64_MAX / 2;
}

int main(int argc, char **argv)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    prctl(PR_SET_TIMERSLACK, 1UL); /* the default of 50 us would show in the durations */
    read_options(argc, argv);
    prepare_request();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        die("epoll_create1");
    begin_ns = now_ns();
    plan_starts();
    run();
    print_results(cpu_seconds());
}
