#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop.h"
#include "relay.h"
#include "status.h"

enum {
  /* Clients that are accepted in one turn, so that the others get theirs. */
  ACCEPTS_PER_TURN = 64,
  /* How long (ms) accepting rests when the system has no descriptor or no memory for more. */
  ACCEPT_PAUSE_MS = 100,
  /* How long (s) a connection may be silent before the kernel asks whether its peer is still there. */
  KEEPALIVE_SECONDS = 15
};

struct connection;

/* One socket of a connection. */
struct end {
  struct watch watch;
  struct end *other;
  struct connection *connection;
  /* What this end could not take at once: bytes from `pending_at` up to `pending_bytes`; else NULL. */
  char *pending;
  size_t pending_at;
  size_t pending_bytes;
  /* It has sent its last byte. */
  bool ended;
};

struct connection {
  struct end client;
  struct end server;
  /* The container has not answered yet. */
  bool connecting;
  struct connection *previous;
  struct connection *next;
};

static struct {
  struct watch listener;
  union address container;
  struct connection *first;
  /* When (now_ms) accepting goes on. */
  int64_t accept_at;
  bool pause_said;
} relay = {.listener = {.fd = -1}, .accept_at = NEVER};

static char buffer[RELAY_BUFFER_BYTES];

/* ---- the end of a connection ---------------------------------------------------------------------------- */

/*
 * Whether closing the socket sends RST. The kernel closes what a process leaves behind, however that dies: were it
 * to send FIN then, data that was cut short would look complete. So this is on from the start, and taken back before
 * a close in good order, when the kernel is to deliver what it still has.
 */
static void reset_at_close(int fd, bool reset) {
  struct linger linger = {.l_onoff = reset, .l_linger = 0};
  (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

static void drop(struct connection *connection, bool reset) {
  struct end *ends[] = {&connection->client, &connection->server};
  for (int index = 0; index < 2; index++) {
    struct end *end = ends[index];
    if (end->watch.fd < 0) continue;
    if (!reset) reset_at_close(end->watch.fd, false);
    loop_close(&end->watch);
    free(end->pending);
    end->pending = NULL;
  }
  if (connection->previous != NULL) connection->previous->next = connection->next;
  else relay.first = connection->next;
  if (connection->next != NULL) connection->next->previous = connection->previous;
  loop_free_owner(&connection->client.watch);
  /* There are descriptors again. */
  if (relay.accept_at != NEVER) relay.accept_at = now_ms();
}

/* ---- carrying ------------------------------------------------------------------------------------------- */

static uint32_t wanted(const struct end *end) {
  if (end->connection->connecting) return end == &end->connection->server ? EPOLLOUT : 0;
  bool reads = !end->ended && end->other->pending == NULL;
  return (reads ? (uint32_t)EPOLLIN : 0) | (end->pending != NULL ? (uint32_t)EPOLLOUT : 0);
}

/* Sends what is pending. @returns false when the connection is broken */
static bool send_pending(struct end *end) {
  ssize_t sent =
      send(end->watch.fd, end->pending + end->pending_at, end->pending_bytes - end->pending_at, MSG_NOSIGNAL);
  if (sent < 0) return errno == EAGAIN || errno == EINTR;
  end->pending_at += (size_t)sent;
  if (end->pending_at < end->pending_bytes) return true;
  free(end->pending);
  end->pending = NULL;
  return true;
}

/* Sends what was read; what the kernel does not take is kept. @returns false when the connection is broken */
static bool send_or_keep(struct end *end, const char *bytes, size_t length) {
  ssize_t sent = send(end->watch.fd, bytes, length, MSG_NOSIGNAL);
  if (sent < 0 && errno != EAGAIN && errno != EINTR) return false;
  size_t gone = sent < 0 ? 0 : (size_t)sent;
  if (gone == length) return true;
  end->pending = malloc(length - gone);
  if (end->pending == NULL) return false;
  memcpy(end->pending, bytes + gone, length - gone);
  end->pending_at = 0;
  end->pending_bytes = length - gone;
  return true;
}

/* Reads once, and sends that to the other end. @returns false when the connection is broken */
static bool carry(struct end *from) {
  ssize_t got = recv(from->watch.fd, buffer, sizeof buffer, 0);
  if (got < 0) return errno == EAGAIN || errno == EINTR;
  if (got > 0) return send_or_keep(from->other, buffer, (size_t)got);
  from->ended = true;
  /* Nothing is pending, or this end would not have been read from. */
  return shutdown(from->other->watch.fd, SHUT_WR) == 0;
}

/* The container has accepted, or has not. */
static bool finish_connecting(struct connection *connection) {
  int reason;
  socklen_t bytes = sizeof reason;
  if (getsockopt(connection->server.watch.fd, SOL_SOCKET, SO_ERROR, &reason, &bytes) != 0 || reason != 0) return false;
  connection->connecting = false;
  return true;
}

/* @returns false when the connection is broken */
static bool handle(struct end *end, uint32_t events) {
  struct connection *connection = end->connection;
  if (connection->connecting && end == &connection->server) return finish_connecting(connection);
  if (events & EPOLLERR) return false;
  if (connection->connecting) return true;
  if ((events & EPOLLOUT) && end->pending != NULL && !send_pending(end)) return false;
  bool reads = !end->ended && end->other->pending == NULL;
  return !reads || !(events & (EPOLLIN | EPOLLHUP)) || carry(end);
}

static void on_end_ready(struct watch *watch, uint32_t events) {
  struct connection *connection = watch->owner;
  struct end *end = watch == &connection->client.watch ? &connection->client : &connection->server;
  if (!handle(end, events)) {
    drop(connection, true);
    return;
  }
  /* Each end was read to its end only after all of it had been sent on. */
  if (connection->client.ended && connection->server.ended) {
    drop(connection, false);
    return;
  }
  loop_change(&connection->client.watch, wanted(&connection->client));
  loop_change(&connection->server.watch, wanted(&connection->server));
}

/* ---- accepting ------------------------------------------------------------------------------------------ */

static void pause_accepting(void) {
  if (!relay.pause_said) say("clients inside the VM have to wait: %s", strerror(errno));
  relay.pause_said = true;
  loop_change(&relay.listener, 0);
  relay.accept_at = now_ms() + ACCEPT_PAUSE_MS;
}

static bool set(int fd, int level, int option, int value) {
  return setsockopt(fd, level, option, &value, sizeof value) == 0;
}

static void tune(int fd) {
  reset_at_close(fd, true);
  /* A connection works without these, too: nothing is to be done where they cannot be had. */
  (void)set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  (void)set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  (void)set(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_SECONDS);
  (void)set(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_SECONDS);
}

static void init_end(struct end *end, struct end *other, struct connection *connection, int fd) {
  end->watch = (struct watch){.fd = fd, .on_ready = on_end_ready, .owner = connection};
  end->other = other;
  end->connection = connection;
  tune(fd);
}

/* Begins to connect an accepted client to the container; resets it where that fails at once. */
static void serve(struct connection *connection, int client, int server) {
  init_end(&connection->client, &connection->server, connection, client);
  init_end(&connection->server, &connection->client, connection, server);
  connection->connecting = true;
  connection->next = relay.first;
  if (relay.first != NULL) relay.first->previous = connection;
  relay.first = connection;
  bool begun = connect(server, &relay.container.any, address_bytes(&relay.container)) == 0 || errno == EINPROGRESS;
  if (!begun || !loop_add(&connection->client.watch, wanted(&connection->client)) ||
      !loop_add(&connection->server.watch, wanted(&connection->server)))
    drop(connection, true);
}

static bool is_lack(int reason) {
  return reason == EMFILE || reason == ENFILE || reason == ENOBUFS || reason == ENOMEM;
}

/* What the client needs is made first: one that cannot be served is not accepted, and waits. */
static bool accept_client(void) {
  struct connection *connection = calloc(1, sizeof *connection);
  int server = socket(relay.container.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  int client = connection == NULL || server < 0
                   ? -1
                   : accept4(relay.listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (client >= 0) {
    relay.pause_said = false;
    serve(connection, client, server);
    return true;
  }
  int reason = connection == NULL ? ENOMEM : errno;
  if (server >= 0) close(server);
  free(connection);
  errno = reason;
  if (reason == EAGAIN) return false;
  if (is_lack(reason) || server < 0) {
    pause_accepting();
    return false;
  }
  /* A client that has left before it was accepted, or something that concerns it alone. */
  if (reason != EINVAL && reason != EBADF) return true;
  say("no more clients inside the VM: %s", strerror(reason));
  loop_close(&relay.listener);
  return false;
}

static void on_listener_ready(struct watch *watch, uint32_t events) {
  (void)watch;
  (void)events;
  for (int count = 0; count < ACCEPTS_PER_TURN && accept_client(); count++) continue;
}

void tcp_relay_start(int listener, const union address *container) {
  relay.container = *container;
  relay.listener = (struct watch){.fd = listener, .on_ready = on_listener_ready, .owner = &relay};
  if (!loop_add(&relay.listener, EPOLLIN)) fail(1, "cannot wait for clients inside the VM: %s", strerror(errno));
}

int64_t tcp_relay_deadline(void) {
  return relay.accept_at;
}

void tcp_relay_on_time(void) {
  if (now_ms() < relay.accept_at) return;
  relay.accept_at = NEVER;
  if (relay.listener.fd >= 0) loop_change(&relay.listener, EPOLLIN);
}

void tcp_relay_stop(void) {
  while (relay.first != NULL) drop(relay.first, true);
}
