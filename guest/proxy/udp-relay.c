#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop.h"
#include "relay.h"
#include "status.h"

enum {
  /* How long (ms) a flow may be idle, as docker-proxy has it. */
  IDLE_MS = 90000,
  /* Flows at once; each has a descriptor. Beyond them the one that has been idle longest goes. */
  MAX_FLOWS = 4096,
  BUCKETS = 1024,
  /* Datagrams of one socket that are carried in one turn, so that the others get theirs. */
  DATAGRAMS_PER_TURN = 64
};

/* Who speaks, and to which address of this VM; compared as bytes, so it is zeroed before it is filled. */
struct flow_key {
  union address client;
  struct in6_addr local;
};

/* The datagrams of one client, which the container sees come from a socket of their own. */
struct flow {
  struct watch watch;
  struct flow_key key;
  int64_t used_at;
  struct flow *next_in_bucket;
  /* In the order of their last use. */
  struct flow *older;
  struct flow *newer;
};

static struct {
  struct watch socket;
  union address container;
  struct flow *buckets[BUCKETS];
  struct flow *oldest;
  struct flow *newest;
  size_t flows;
} relay = {.socket = {.fd = -1}};

static char buffer[RELAY_BUFFER_BYTES];

/* Room for the one control message that is asked for, or sent. */
union control {
  char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
  struct cmsghdr align;
};

/* ---- flows ---------------------------------------------------------------------------------------------- */

static struct flow **bucket_of(const struct flow_key *key) {
  uint32_t hash = 2166136261u;
  const unsigned char *bytes = (const unsigned char *)key;
  for (size_t index = 0; index < sizeof *key; index++) hash = (hash ^ bytes[index]) * 16777619u;
  return &relay.buckets[hash % BUCKETS];
}

static void unlink_by_age(struct flow *flow) {
  if (flow->older != NULL) flow->older->newer = flow->newer;
  else relay.oldest = flow->newer;
  if (flow->newer != NULL) flow->newer->older = flow->older;
  else relay.newest = flow->older;
}

static void link_as_newest(struct flow *flow) {
  flow->used_at = now_ms();
  flow->newer = NULL;
  flow->older = relay.newest;
  if (relay.newest != NULL) relay.newest->newer = flow;
  else relay.oldest = flow;
  relay.newest = flow;
}

static void touch(struct flow *flow) {
  unlink_by_age(flow);
  link_as_newest(flow);
}

static void end_flow(struct flow *flow) {
  struct flow **link = bucket_of(&flow->key);
  while (*link != flow) link = &(*link)->next_in_bucket;
  *link = flow->next_in_bucket;
  unlink_by_age(flow);
  relay.flows--;
  loop_close(&flow->watch);
  loop_free_owner(&flow->watch);
}

static struct flow *find_flow(const struct flow_key *key) {
  struct flow *flow = *bucket_of(key);
  while (flow != NULL && memcmp(&flow->key, key, sizeof *key) != 0) flow = flow->next_in_bucket;
  return flow;
}

/* A socket to the container; -1 with errno if there cannot be one. */
static int connect_to_container(void) {
  int fd = socket(relay.container.any.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, &relay.container.any, address_bytes(&relay.container)) == 0) return fd;
  int reason = errno;
  close(fd);
  errno = reason;
  return -1;
}

static void on_reply_ready(struct watch *watch, uint32_t events);

/* @returns NULL when there is no room for it, or no way to the container: its datagram is lost, as UDP's may be */
static struct flow *begin_flow(const struct flow_key *key) {
  if (relay.flows >= MAX_FLOWS) end_flow(relay.oldest);
  int fd = connect_to_container();
  if (fd < 0 && (errno == EMFILE || errno == ENFILE) && relay.oldest != NULL) {
    end_flow(relay.oldest);
    fd = connect_to_container();
  }
  struct flow *flow = fd < 0 ? NULL : calloc(1, sizeof *flow);
  if (flow != NULL) flow->watch = (struct watch){.fd = fd, .on_ready = on_reply_ready, .owner = flow};
  if (flow == NULL || !loop_add(&flow->watch, EPOLLIN)) {
    if (fd >= 0) close(fd);
    free(flow);
    return NULL;
  }
  flow->key = *key;
  struct flow **bucket = bucket_of(key);
  flow->next_in_bucket = *bucket;
  *bucket = flow;
  relay.flows++;
  link_as_newest(flow);
  return flow;
}

/* ---- datagrams ------------------------------------------------------------------------------------------ */

/* The address of this VM that a datagram was sent to; unspecified where the kernel has to choose one itself. */
static struct in6_addr read_local_address(struct msghdr *message) {
  struct in6_addr local = IN6ADDR_ANY_INIT;
  for (struct cmsghdr *control = CMSG_FIRSTHDR(message); control != NULL; control = CMSG_NXTHDR(message, control)) {
    if (control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_PKTINFO) {
      struct in_pktinfo info;
      memcpy(&info, CMSG_DATA(control), sizeof info);
      memcpy(&local, &info.ipi_spec_dst, sizeof info.ipi_spec_dst);
    } else if (control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_PKTINFO) {
      struct in6_pktinfo info;
      memcpy(&info, CMSG_DATA(control), sizeof info);
      if (!IN6_IS_ADDR_MULTICAST(&info.ipi6_addr)) local = info.ipi6_addr;
    }
  }
  return local;
}

/* Has a reply come from the address that its client has sent to. */
static void put_local_address(struct msghdr *message, const struct flow_key *key) {
  struct cmsghdr *control = (struct cmsghdr *)message->msg_control;
  if (key->client.any.sa_family == AF_INET) {
    struct in_pktinfo info = {0};
    memcpy(&info.ipi_spec_dst, &key->local, sizeof info.ipi_spec_dst);
    *control = (struct cmsghdr){
        .cmsg_len = CMSG_LEN(sizeof info), .cmsg_level = IPPROTO_IP, .cmsg_type = IP_PKTINFO};
    memcpy(CMSG_DATA(control), &info, sizeof info);
    message->msg_controllen = CMSG_SPACE(sizeof info);
  } else {
    struct in6_pktinfo info = {.ipi6_addr = key->local, .ipi6_ifindex = key->client.six.sin6_scope_id};
    *control = (struct cmsghdr){
        .cmsg_len = CMSG_LEN(sizeof info), .cmsg_level = IPPROTO_IPV6, .cmsg_type = IPV6_PKTINFO};
    memcpy(CMSG_DATA(control), &info, sizeof info);
    message->msg_controllen = CMSG_SPACE(sizeof info);
  }
}

/* Carries one datagram to the container. @returns whether there may be more */
static bool carry_up(void) {
  struct flow_key key;
  memset(&key, 0, sizeof key);
  union control control;
  struct iovec payload = {.iov_base = buffer, .iov_len = sizeof buffer};
  struct msghdr message = {
      .msg_name = &key.client,
      .msg_namelen = sizeof key.client,
      .msg_iov = &payload,
      .msg_iovlen = 1,
      .msg_control = &control,
      .msg_controllen = sizeof control,
  };
  ssize_t got = recvmsg(relay.socket.fd, &message, 0);
  if (got < 0) return errno != EAGAIN;
  key.local = read_local_address(&message);
  struct flow *flow = find_flow(&key);
  if (flow == NULL) flow = begin_flow(&key);
  if (flow == NULL) return true;
  touch(flow);
  /* The first try may only tell that the container has refused an earlier datagram: it may take this one. */
  if (send(flow->watch.fd, buffer, (size_t)got, 0) < 0 && errno == ECONNREFUSED)
    (void)send(flow->watch.fd, buffer, (size_t)got, 0);
  return true;
}

/* Carries one reply back. @returns whether there may be more */
static bool carry_down(struct flow *flow) {
  ssize_t got = recv(flow->watch.fd, buffer, sizeof buffer, 0);
  /* While nothing listens in the container it refuses; its clients may still come when something does. */
  if (got < 0) return errno != EAGAIN;
  touch(flow);
  union control control;
  memset(&control, 0, sizeof control);
  struct iovec payload = {.iov_base = buffer, .iov_len = (size_t)got};
  struct msghdr message = {
      .msg_name = &flow->key.client,
      .msg_namelen = address_bytes(&flow->key.client),
      .msg_iov = &payload,
      .msg_iovlen = 1,
      .msg_control = &control,
      .msg_controllen = sizeof control,
  };
  put_local_address(&message, &flow->key);
  /* A reply that cannot be sent is lost, as UDP's may be. */
  (void)sendmsg(relay.socket.fd, &message, 0);
  return true;
}

static void on_socket_ready(struct watch *watch, uint32_t events) {
  (void)watch;
  (void)events;
  for (int count = 0; count < DATAGRAMS_PER_TURN && carry_up(); count++) continue;
}

static void on_reply_ready(struct watch *watch, uint32_t events) {
  (void)events;
  for (int count = 0; count < DATAGRAMS_PER_TURN && carry_down(watch->owner); count++) continue;
}

void udp_relay_start(int socket, const union address *container) {
  relay.container = *container;
  relay.socket = (struct watch){.fd = socket, .on_ready = on_socket_ready, .owner = &relay};
  if (!loop_add(&relay.socket, EPOLLIN)) fail(1, "cannot wait for clients inside the VM: %s", strerror(errno));
}

int64_t udp_relay_deadline(void) {
  return relay.oldest == NULL ? NEVER : relay.oldest->used_at + IDLE_MS;
}

void udp_relay_on_time(void) {
  int64_t now = now_ms();
  while (relay.oldest != NULL && relay.oldest->used_at + IDLE_MS <= now) end_flow(relay.oldest);
}
