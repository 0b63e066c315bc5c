#include "lease.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "loop.h"
#include "status.h"

enum {
  /* dockerd waits for 16 s; all attempts and the answer (ms) must be over before. */
  ANSWER_MS = 15000,
  /* How long (ms) an agent may be away that is being started or restarted. */
  AWAY_MS = 5000,
  /* Between attempts (ms) while dockerd waits, and when it does not any more. */
  FIRST_RETRY_MS = 100,
  RETRY_MS = 500,
  /* How long (ms) the end may wait for the agent. */
  GIVE_BACK_MS = 1000,
  REQUEST_BYTES = 512,
  /* An answer's head and the reason in it; what is longer is cut. */
  ANSWER_BYTES = 4096
};

static struct {
  struct watch watch;
  const char *control;
  /* What is asked for, in words: tcp 0.0.0.0:80. */
  char what[ENDPOINT_TEXT_BYTES + 4];
  char request[REQUEST_BYTES];
  void (*on_granted)(void);
  /* The host listens. */
  bool held;
  bool was_held;
  /* When (now_ms) the agent was asked first, when it is asked next, and when the answer must be there. */
  int64_t started_at;
  int64_t retry_at;
  int64_t answer_until;
  char answer[ANSWER_BYTES + 1];
  size_t answer_bytes;
  char last_said[MESSAGE_BYTES];
} lease;

static void write_request(const struct options *options) {
  const char *proto = options->udp ? "udp" : "tcp";
  char host[IP_TEXT_BYTES], container[IP_TEXT_BYTES], endpoint[ENDPOINT_TEXT_BYTES], body[REQUEST_BYTES / 2];
  format_ip(&options->host, host);
  format_ip(&options->container, container);
  format_endpoint(&options->host, endpoint);
  snprintf(lease.what, sizeof lease.what, "%s %s", proto, endpoint);
  int length = snprintf(body, sizeof body,
                        "{\"proto\":\"%s\",\"out_ip\":\"%s\",\"out_port\":%u,\"in_ip\":\"%s\",\"in_port\":%u}", proto,
                        host, get_port(&options->host), container, get_port(&options->container));
  snprintf(lease.request, sizeof lease.request,
           "POST /v1/proxy HTTP/1.1\r\nHost: portferry\r\nContent-Type: application/json\r\n"
           "Content-Length: %d\r\n\r\n%s",
           length, body);
}

/* In dockerd's log, each state is one line, however often it is found again. */
static void say_once(const char *text) {
  if (strcmp(text, lease.last_said) == 0) return;
  snprintf(lease.last_said, sizeof lease.last_said, "%s", text);
  say("%s", text);
}

/* The agent has not answered, because of `reason`. */
static void away(const char *reason) {
  loop_close(&lease.watch);
  int64_t now = now_ms();
  lease.answer_until = NEVER;
  lease.retry_at = now + (lease.was_held ? RETRY_MS : FIRST_RETRY_MS);
  if (lease.was_held) {
    char text[MESSAGE_BYTES];
    snprintf(text, sizeof text, "the host does not listen on %s any more: agent at %s: %s; asking it until it does",
             lease.what, lease.control, reason);
    say_once(text);
  } else if (lease.retry_at - lease.started_at > AWAY_MS) {
    fail(1,
         "cannot have the host listen on %s: no portferry agent has answered at %s for %.0f s: %s; start "
         "portferry-guest with --proxy-socket %s, or name its socket in PORTFERRY_PROXY_SOCKET",
         lease.what, lease.control, (double)(now - lease.started_at) / 1000, reason, lease.control);
  }
}

/* The agent has said no. */
static void refused(const char *reason) {
  if (!lease.was_held) fail(1, "%s", reason);
  loop_close(&lease.watch);
  lease.answer_until = NEVER;
  lease.retry_at = now_ms() + RETRY_MS;
  char text[MESSAGE_BYTES];
  snprintf(text, sizeof text, "the host does not listen on %s any more: %s; asking it until it does", lease.what,
           reason);
  say_once(text);
}

static void granted(void) {
  lease.held = true;
  lease.answer_until = NEVER;
  if (lease.was_held) {
    char text[MESSAGE_BYTES];
    snprintf(text, sizeof text, "the host listens on %s again", lease.what);
    say_once(text);
    return;
  }
  lease.was_held = true;
  lease.on_granted();
}

/* The value of a header line of the answer; NULL if there is none. */
static const char *find_header(const char *name, const char *head_end) {
  size_t length = strlen(name);
  for (const char *line = strstr(lease.answer, "\r\n"); line != NULL && line < head_end; line = strstr(line, "\r\n")) {
    line += 2;
    if (strncasecmp(line, name, length) == 0 && line[length] == ':') return line + length + 1;
  }
  return NULL;
}

/* Whether a body has come as far as its head says; one that says nothing ends with the connection. */
static bool is_complete(const char *head_end, bool chunked) {
  static const char LAST_CHUNK[] = "0\r\n\r\n";
  const char *body = head_end + 4;
  size_t here = lease.answer_bytes - (size_t)(body - lease.answer);
  if (chunked) {
    size_t last = sizeof LAST_CHUNK - 1;
    return here >= last && strcmp(body + here - last, LAST_CHUNK) == 0;
  }
  const char *length = find_header("Content-Length", head_end);
  return length != NULL && here >= strtoul(length, NULL, 10);
}

/* Joins the chunks of a body in its place. */
static void join_chunks(char *body) {
  const char *end = lease.answer + lease.answer_bytes;
  const char *line = body;
  char *out = body;
  for (;;) {
    const char *line_end = strstr(line, "\r\n");
    size_t size = line_end == NULL ? 0 : strtoul(line, NULL, 16);
    if (size == 0) break;
    const char *data = line_end + 2;
    size_t here = size < (size_t)(end - data) ? size : (size_t)(end - data);
    memmove(out, data, here);
    out += here;
    if ((size_t)(end - data) < here + 2) break;
    line = data + here + 2;
  }
  *out = '\0';
}

/*
 * Looks at what has come of the answer.
 * @param over no more will come
 */
static void read_answer(bool over) {
  lease.answer[lease.answer_bytes] = '\0';
  bool full = lease.answer_bytes == ANSWER_BYTES;
  char *head_end = strstr(lease.answer, "\r\n\r\n");
  if (head_end == NULL) {
    if (over) away("it has closed the connection without an answer");
    else if (full) away("what it answers is not HTTP");
    return;
  }
  int status;
  if (sscanf(lease.answer, "HTTP/1.%*1[01] %3d", &status) != 1) {
    away("what it answers is not HTTP");
    return;
  }
  if (status == 200) {
    if (over) away("it has closed the connection");
    else granted();
    return;
  }
  char *body = head_end + 4;
  bool chunked = find_header("Transfer-Encoding", head_end) != NULL;
  if (!over && !full && !is_complete(head_end, chunked)) return;
  if (chunked) join_chunks(body);
  make_one_line(body);
  if (*body != '\0') {
    refused(body);
    return;
  }
  char text[MESSAGE_BYTES];
  snprintf(text, sizeof text, "the portferry agent at %s refuses %s with status %d and no reason", lease.control,
           lease.what, status);
  refused(text);
}

static void on_ready(struct watch *watch, uint32_t events) {
  (void)events;
  /* Nothing is expected any more once the lease is held; what comes all the same is dropped. */
  char *into = lease.held ? lease.answer : lease.answer + lease.answer_bytes;
  size_t room = lease.held ? ANSWER_BYTES : ANSWER_BYTES - lease.answer_bytes;
  ssize_t got = recv(watch->fd, into, room, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (lease.held && got > 0) return;
  if (lease.held) {
    lease.held = false;
    away(got == 0 ? "it has closed the connection" : strerror(errno));
    return;
  }
  if (got < 0) {
    away(strerror(errno));
    return;
  }
  lease.answer_bytes += (size_t)got;
  read_answer(got == 0);
}

static void ask(void) {
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  strcpy(to.sun_path, lease.control);
  lease.retry_at = NEVER;
  lease.answer_bytes = 0;
  lease.answer_until = lease.was_held ? now_ms() + ANSWER_MS : lease.started_at + ANSWER_MS;
  lease.watch.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (lease.watch.fd < 0 || connect(lease.watch.fd, (struct sockaddr *)&to, sizeof to) != 0) {
    away(strerror(errno));
    return;
  }
  size_t length = strlen(lease.request);
  /* A fresh socket has room for so little. */
  ssize_t sent = send(lease.watch.fd, lease.request, length, MSG_NOSIGNAL);
  if (sent != (ssize_t)length || !loop_add(&lease.watch, EPOLLIN)) away(strerror(errno));
}

void lease_ask(const struct options *options, void (*on_granted)(void)) {
  lease.watch = (struct watch){.fd = -1, .on_ready = on_ready, .owner = &lease};
  lease.control = options->control;
  lease.on_granted = on_granted;
  lease.started_at = now_ms();
  write_request(options);
  ask();
}

int64_t lease_deadline(void) {
  return lease.retry_at < lease.answer_until ? lease.retry_at : lease.answer_until;
}

void lease_on_time(void) {
  int64_t now = now_ms();
  if (now >= lease.retry_at) {
    ask();
    return;
  }
  if (now < lease.answer_until) return;
  char text[MESSAGE_BYTES];
  snprintf(text, sizeof text,
           "the portferry agent at %s has not answered for %s within %d s; see its log, and whether the host is up",
           lease.control, lease.what, ANSWER_MS / 1000);
  refused(text);
}

void lease_give_back(void) {
  if (!lease.held || shutdown(lease.watch.fd, SHUT_WR) != 0) return;
  int64_t until = now_ms() + GIVE_BACK_MS;
  for (int64_t left = GIVE_BACK_MS; left > 0; left = until - now_ms()) {
    struct pollfd ready = {.fd = lease.watch.fd, .events = POLLIN};
    if (poll(&ready, 1, (int)left) < 0 && errno != EINTR) return;
    ssize_t got = recv(lease.watch.fd, lease.answer, ANSWER_BYTES, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return;
  }
}
