/*
 * A stand-in for Ollama that costs next to nothing, so that a benchmark measures what stands in front of it.
 *
 *   fake_ollama PORT NAME=PACE...     e.g.  fake_ollama 11434 bench:unpaced=0 bench:paced=50
 *
 * Each NAME is a model, PACE its tokens per second and stream; 0 is as fast as the socket takes them, one write per
 * token, streams in turn. The first token leaves at once: whatever time it takes to reach a client was added on the way.
 * It listens on loopback. POST /api/chat answers `options.num_predict` tokens, each of the form
 *
 *   #TAG.SEQ@NANOSECONDS
 *
 * TAG repeats the digits after the prompt's first '#', SEQ counts from 0, NANOSECONDS is CLOCK_MONOTONIC at the write:
 * who reads them on the same machine knows each token's age, and whether one is missing, doubled or somebody else's.
 *
 * One thread, one epoll, no allocation per token. Requests need a Content-Length and may not be pipelined. The process
 * ends with its parent.
 */
#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    EVENTS_PER_WAIT = 256,
    MODELS_MAX = 8,
    REQUEST_MAX = 32 * 1024,
    RESPONSE_MAX = 16 * 1024,
    TAG_MAX = 20,
    TOKENS_DEFAULT = 64,
    TOKENS_MAX_UNSTREAMED = 128, /* they must fit into RESPONSE_MAX together */
};

static const int64_t NS_PER_S = 1000000000;

struct connection {
    int fd;
    bool stalled;          /* the socket is full: waits for EPOLLOUT, outside its model's list */
    struct model *model;   /* NULL: no answer is being streamed */
    int64_t due_ns;        /* when the next token is to be written */
    int64_t tokens;        /* of the whole answer */
    int64_t tokens_sent;
    char tag[TAG_MAX + 1];
    size_t request_length;
    size_t response_length;
    size_t response_sent;
    TAILQ_ENTRY(connection) streams;
    char request[REQUEST_MAX + 1];
    char response[RESPONSE_MAX];
};

TAILQ_HEAD(stream_list, connection);

struct model {
    const char *name;
    int64_t interval_ns;        /* between the tokens of a stream; 0 is unpaced */
    struct stream_list streams; /* by due_ns, to within one turn of the loop: all have the same interval */
};

static struct model models[MODELS_MAX];
static int model_count;
static int epoll_fd;

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

/* ---- writing a response ---- */

static void append_bytes(struct connection *connection, const char *bytes, size_t length)
{
    memcpy(connection->response + connection->response_length, bytes, length);
    connection->response_length += length;
}

static void append(struct connection *connection, const char *text)
{
    append_bytes(connection, text, strlen(text));
}

static void append_number(struct connection *connection, int64_t number)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    append_bytes(connection, digits + at, sizeof digits - at);
}

static void watch(struct connection *connection, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = connection};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, connection->fd, &event) < 0)
        die("epoll_ctl");
}

static void leave_stream(struct connection *connection)
{
    if (connection->model != NULL && !connection->stalled)
        TAILQ_REMOVE(&connection->model->streams, connection, streams);
    connection->model = NULL;
}

static void hang_up(struct connection *connection)
{
    leave_stream(connection);
    close(connection->fd);
    free(connection);
}

/* Writes what the socket takes; false when the connection is gone (and freed). */
static bool flush(struct connection *connection)
{
    ssize_t written = send(connection->fd, connection->response + connection->response_sent,
                           connection->response_length - connection->response_sent, MSG_NOSIGNAL);
    if (written < 0 && errno != EAGAIN) {
        hang_up(connection);
        return false;
    }
    if (written > 0)
        connection->response_sent += (size_t)written;
    if (connection->response_sent == connection->response_length) {
        connection->response_sent = connection->response_length = 0;
        return true;
    }
    if (!connection->stalled) {
        if (connection->model != NULL)
            TAILQ_REMOVE(&connection->model->streams, connection, streams);
        connection->stalled = true;
        watch(connection, EPOLLIN | EPOLLRDHUP | EPOLLOUT);
    }
    return true;
}

/* ---- the answer of a chat ---- */

static void append_token(struct connection *connection)
{
    append(connection, "#");
    append(connection, connection->tag);
    append(connection, ".");
    append_number(connection, connection->tokens_sent++);
    append(connection, "@");
    append_number(connection, now_ns());
    append(connection, " ");
}

static void append_message_head(struct connection *connection, const struct model *model)
{
    append(connection, "{\"model\":\"");
    append(connection, model->name);
    append(connection, "\",\"created_at\":\"2025-01-01T00:00:00.000000000Z\","
                       "\"message\":{\"role\":\"assistant\",\"content\":\"");
}

static void append_message_end(struct connection *connection)
{
    append(connection, "\"},\"done\":true,\"done_reason\":\"stop\",\"total_duration\":1000000,\"load_duration\":1000,"
                       "\"prompt_eval_count\":7,\"prompt_eval_duration\":1000,\"eval_count\":");
    append_number(connection, connection->tokens);
    append(connection, ",\"eval_duration\":1000000}\n");
}

/* Chunked encoding, with the size always in four digits so that it can be filled in afterwards. */
static size_t open_chunk(struct connection *connection)
{
    append(connection, "0000\r\n");
    return connection->response_length;
}

static void close_chunk(struct connection *connection, size_t start)
{
    size_t length = connection->response_length - start;
    for (size_t digit = 0; digit < 4; digit++)
        connection->response[start - 3 - digit] = "0123456789abcdef"[length >> (4 * digit) & 15];
    append(connection, "\r\n");
}

static void append_token_line(struct connection *connection)
{
    size_t start = open_chunk(connection);
    append_message_head(connection, connection->model);
    append_token(connection);
    append(connection, "\"},\"done\":false}\n");
    close_chunk(connection, start);
}

static void append_last_line(struct connection *connection)
{
    size_t start = open_chunk(connection);
    append_message_head(connection, connection->model);
    append_message_end(connection);
    close_chunk(connection, start);
    append(connection, "0\r\n\r\n");
}

/* Writes one token, and with the last one the end; false when the connection is gone or its answer complete. */
static bool write_token(struct connection *connection)
{
    append_token_line(connection);
    bool complete = connection->tokens_sent == connection->tokens;
    if (complete) {
        append_last_line(connection);
        leave_stream(connection);
    }
    return flush(connection) && !complete;
}

static void write_due_tokens(struct model *model, int64_t now)
{
    struct connection *last = TAILQ_LAST(&model->streams, stream_list);
    struct connection *connection = TAILQ_FIRST(&model->streams);
    while (connection != NULL && connection->due_ns <= now) {
        struct connection *next = connection == last ? NULL : TAILQ_NEXT(connection, streams);
        if (write_token(connection) && !connection->stalled) {
            TAILQ_REMOVE(&model->streams, connection, streams);
            connection->due_ns += model->interval_ns;
            TAILQ_INSERT_TAIL(&model->streams, connection, streams);
        }
        connection = next;
    }
}

static void start_stream(struct connection *connection, struct model *model, int64_t turn_ns)
{
    append(connection, "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n");
    connection->model = model;
    connection->due_ns = model->interval_ns > 0 ? turn_ns + model->interval_ns : 0;
    TAILQ_INSERT_TAIL(&model->streams, connection, streams);
    write_token(connection);
}

/* ---- answers in one piece ---- */

/* Leaves room for a Content-Length of five digits; `finish_response` fills it in. */
static size_t open_response(struct connection *connection, const char *status)
{
    append(connection, "HTTP/1.1 ");
    append(connection, status);
    append(connection, "\r\nContent-Type: application/json\r\nContent-Length: 00000\r\n\r\n");
    return connection->response_length;
}

static void finish_response(struct connection *connection, size_t start)
{
    size_t length = connection->response_length - start;
    for (char *digit = connection->response + start - 5; length > 0; length /= 10)
        *digit-- = (char)('0' + length % 10);
    flush(connection);
}

static void respond(struct connection *connection, const char *status, const char *body)
{
    size_t start = open_response(connection, status);
    append(connection, body);
    finish_response(connection, start);
}

static void respond_unstreamed(struct connection *connection, const struct model *model)
{
    size_t start = open_response(connection, "200 OK");
    append_message_head(connection, model);
    while (connection->tokens_sent < connection->tokens)
        append_token(connection);
    append_message_end(connection);
    finish_response(connection, start);
}

static void respond_models(struct connection *connection)
{
    size_t start = open_response(connection, "200 OK");
    append(connection, "{\"models\":[");
    for (int i = 0; i < model_count; i++) {
        append(connection, i > 0 ? ",{\"name\":\"" : "{\"name\":\"");
        append(connection, models[i].name);
        append(connection, "\",\"model\":\"");
        append(connection, models[i].name);
        append(connection, "\",\"modified_at\":\"2025-01-01T00:00:00Z\",\"expires_at\":\"2100-01-01T00:00:00Z\","
                           "\"size\":1000000,\"size_vram\":1000000,\"context_length\":8192,\"digest\":\""
                           "00000000000000000000000000000000000000000000000000000000000000");
        append_number(connection, 10 + i); /* two digits: a digest has 64 */
        append(connection, "\",\"details\":{\"parent_model\":\"\",\"format\":\"gguf\",\"family\":\"llama\","
                           "\"families\":[\"llama\"],\"parameter_size\":\"1B\",\"quantization_level\":\"Q4_0\"}}");
    }
    append(connection, "]}");
    finish_response(connection, start);
}

static void respond_show(struct connection *connection)
{
    respond(connection, "200 OK",
            "{\"modelfile\":\"\",\"parameters\":\"\",\"template\":\"{{ .Prompt }}\",\"modified_at\":"
            "\"2025-01-01T00:00:00Z\",\"details\":{\"parent_model\":\"\",\"format\":\"gguf\",\"family\":\"llama\","
            "\"families\":[\"llama\"],\"parameter_size\":\"1B\",\"quantization_level\":\"Q4_0\"},\"model_info\":{"
            "\"general.architecture\":\"llama\",\"llama.context_length\":8192},\"capabilities\":[\"completion\"]}");
}

/* ---- reading a request ---- */

/* Returns what stands after `"name":` anywhere in the body, or NULL. */
static const char *json_value(const char *body, const char *name)
{
    char key[32];
    snprintf(key, sizeof key, "\"%s\"", name);
    const char *value = strstr(body, key);
    if (value == NULL)
        return NULL;
    value += strlen(key);
    return value + strspn(value, " :");
}

static struct model *requested_model(const char *body)
{
    const char *name = json_value(body, "model");
    for (int i = 0; name != NULL && i < model_count; i++) {
        size_t length = strlen(models[i].name);
        if (name[0] == '"' && strncmp(name + 1, models[i].name, length) == 0 && name[length + 1] == '"')
            return &models[i];
    }
    return NULL;
}

static void read_tag(struct connection *connection, const char *body)
{
    const char *mark = strchr(body, '#');
    size_t length = mark == NULL ? 0 : strspn(mark + 1, "0123456789");
    if (length > TAG_MAX)
        length = TAG_MAX;
    if (length > 0)
        memcpy(connection->tag, mark + 1, length);
    connection->tag[length] = '\0';
}

static void chat(struct connection *connection, const char *body, int64_t turn_ns)
{
    struct model *model = requested_model(body);
    if (model == NULL) {
        respond(connection, "404 Not Found", "{\"error\":\"model not found\"}");
        return;
    }
    const char *tokens = json_value(body, "num_predict");
    const char *stream = json_value(body, "stream");
    read_tag(connection, body);
    connection->tokens = tokens != NULL && atoi(tokens) > 0 ? atoi(tokens) : TOKENS_DEFAULT;
    connection->tokens_sent = 0;
    if (stream == NULL || strncmp(stream, "false", 5) != 0)
        start_stream(connection, model, turn_ns);
    else if (connection->tokens <= TOKENS_MAX_UNSTREAMED)
        respond_unstreamed(connection, model);
    else
        respond(connection, "400 Bad Request", "{\"error\":\"too many tokens for an answer in one piece\"}");
}

static void answer(struct connection *connection, const char *body, int64_t turn_ns)
{
    const char *path = strchr(connection->request, ' ');
    path = path == NULL ? "" : path + 1;
    if (strncmp(path, "/api/chat ", 10) == 0)
        chat(connection, body, turn_ns);
    else if (strncmp(path, "/api/tags ", 10) == 0 || strncmp(path, "/api/ps ", 8) == 0)
        respond_models(connection);
    else if (strncmp(path, "/api/show ", 10) == 0)
        respond_show(connection);
    else if (strncmp(path, "/api/version ", 13) == 0)
        respond(connection, "200 OK", "{\"version\":\"0.12.0\"}");
    else
        respond(connection, "404 Not Found", "{\"error\":\"not found\"}");
}

/* Returns the body of the request in the buffer, NUL-terminated, or NULL while it is incomplete. */
static const char *whole_body(struct connection *connection)
{
    connection->request[connection->request_length] = '\0';
    char *head_end = strstr(connection->request, "\r\n\r\n");
    if (head_end == NULL)
        return NULL;
    const char *body = head_end + 4;
    const char *field = strcasestr(connection->request, "\r\ncontent-length:");
    size_t length = field == NULL || field > head_end ? 0 : strtoul(field + strlen("\r\ncontent-length:"), NULL, 10);
    size_t present = connection->request_length - (size_t)(body - connection->request);
    return present >= length ? body : NULL;
}

/* A request larger than the buffer, or one that comes before the last was answered, ends the connection. */
static void on_readable(struct connection *connection, int64_t turn_ns)
{
    bool answering = connection->model != NULL || connection->response_length > 0;
    size_t room = answering ? 0 : REQUEST_MAX - connection->request_length;
    ssize_t length = recv(connection->fd, connection->request + connection->request_length, room, 0);
    if (length <= 0) {
        hang_up(connection);
        return;
    }
    connection->request_length += (size_t)length;
    const char *body = whole_body(connection);
    if (body != NULL) {
        connection->request_length = 0;
        answer(connection, body, turn_ns); /* may free the connection */
    }
}

static void on_writable(struct connection *connection, int64_t turn_ns)
{
    if (!flush(connection) || connection->response_length > 0)
        return;
    connection->stalled = false;
    watch(connection, EPOLLIN);
    if (connection->model != NULL) {
        connection->due_ns = turn_ns;
        TAILQ_INSERT_HEAD(&connection->model->streams, connection, streams);
    }
}

/* ---- the process ---- */

static void accept_connections(int listener)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct connection *connection = calloc(1, sizeof *connection);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
        if (connection == NULL || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
            die("new connection");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        connection->fd = fd;
    }
    if (errno != EAGAIN && errno != ECONNABORTED)
        die("accept4");
}

static int listen_on(int port)
{
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) < 0 ||
        bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, SOMAXCONN) < 0 ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event) < 0)
        die("listen");
    return listener;
}

/* Nanoseconds until a token is due; -1 when nothing is streamed. */
static int64_t next_due_in(int64_t now)
{
    int64_t earliest = INT64_MAX;
    for (int i = 0; i < model_count; i++) {
        struct connection *first = TAILQ_FIRST(&models[i].streams);
        if (first != NULL && first->due_ns < earliest)
            earliest = first->due_ns;
    }
    if (earliest == INT64_MAX)
        return -1;
    return earliest > now ? earliest - now : 0;
}

/* epoll_wait knows milliseconds only: the epoll descriptor itself is polled, to the nanosecond. */
static int wait_for_events(struct epoll_event *events, int64_t timeout_ns)
{
    struct pollfd ready = {.fd = epoll_fd, .events = POLLIN};
    struct timespec timeout = {.tv_sec = timeout_ns / NS_PER_S, .tv_nsec = timeout_ns % NS_PER_S};
    if (timeout_ns < 0)
        return epoll_wait(epoll_fd, events, EVENTS_PER_WAIT, -1);
    if (timeout_ns > 0 && ppoll(&ready, 1, &timeout, NULL) == 0)
        return 0;
    return epoll_wait(epoll_fd, events, EVENTS_PER_WAIT, 0);
}

static void serve(int listener)
{
    struct epoll_event events[EVENTS_PER_WAIT];
    for (;;) {
        int64_t turn_ns = now_ns();
        for (int i = 0; i < model_count; i++)
            write_due_tokens(&models[i], turn_ns);
        int count = wait_for_events(events, next_due_in(now_ns()));
        turn_ns = now_ns();
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            if (connection == NULL)
                accept_connections(listener);
            else if (events[i].events & EPOLLOUT)
                on_writable(connection, turn_ns);
            else
                on_readable(connection, turn_ns);
        }
    }
}

static void usage(void)
{
    fprintf(stderr, "usage: fake_ollama PORT NAME=TOKENS_PER_SECOND... (at most %d models)\n", MODELS_MAX);
    exit(EXIT_FAILURE);
}

static void add_model(char *argument)
{
    char *pace = strrchr(argument, '=');
    if (pace == NULL || model_count == MODELS_MAX)
        usage();
    *pace++ = '\0';
    struct model *model = &models[model_count++];
    model->name = argument;
    model->interval_ns = atoi(pace) > 0 ? NS_PER_S / atoi(pace) : 0;
    TAILQ_INIT(&model->streams);
}

int main(int argc, char **argv)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    prctl(PR_SET_TIMERSLACK, 1UL); /* the default of 50 us would show in the gaps */
    if (argc < 3)
        usage();
    for (int i = 2; i < argc; i++)
        add_model(argv[i]);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        die("epoll_create1");
    serve(listen_on(atoi(argv[1])));
}
