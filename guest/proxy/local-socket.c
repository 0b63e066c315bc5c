#include "local-socket.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "status.h"

enum { LISTEN_FD = 4 };

/* As docker-proxy's, the kernel cuts it to net.core.somaxconn. */
enum { BACKLOG = 4096 };

static bool set(int fd, int level, int option, int value) {
  return setsockopt(fd, level, option, &value, sizeof value) == 0;
}

/* Replies are to come from the address that the client has sent to. */
static bool want_local_address(int fd, int family) {
  return family == AF_INET ? set(fd, IPPROTO_IP, IP_PKTINFO, 1) : set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
}

/* Makes a bound socket what the relay needs. */
static bool prepare(int fd, const struct options *options, int family) {
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return false;
  return options->udp ? want_local_address(fd, family) : listen(fd, BACKLOG) == 0;
}

static int bind_socket(const struct options *options) {
  int family = options->host.any.sa_family;
  int fd = socket(family, (options->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  bool ready = (options->udp || set(fd, SOL_SOCKET, SO_REUSEADDR, 1)) &&
               (family == AF_INET || set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1)) &&
               bind(fd, &options->host.any, address_bytes(&options->host)) == 0 && prepare(fd, options, family);
  if (ready) return fd;
  int reason = errno;
  close(fd);
  errno = reason;
  return -1;
}

/*
 * What dockerd has bound. Where nothing is to listen inside the VM, it must not stay as it is: a client that a
 * listening socket takes and nobody accepts would wait for ever. shutdown() ends the listening also where
 * dockerd has kept the socket open itself; then it is refused, as it is when a port is not published.
 */
static int adopt_socket(const struct options *options) {
  union address bound;
  socklen_t bytes = sizeof bound;
  int type;
  socklen_t type_bytes = sizeof type;
  if (getsockname(LISTEN_FD, &bound.any, &bytes) != 0 ||
      getsockopt(LISTEN_FD, SOL_SOCKET, SO_TYPE, &type, &type_bytes) != 0)
    fail(1, "-use-listen-fd: descriptor 4 is no socket: %s", strerror(errno));
  if (type != (options->udp ? SOCK_DGRAM : SOCK_STREAM) ||
      (bound.any.sa_family != AF_INET && bound.any.sa_family != AF_INET6))
    fail(1, "-use-listen-fd: descriptor 4 is no socket for %s", options->udp ? "udp" : "tcp");
  if (options->local_bind == BIND_NEVER) {
    /* One that does not listen yet is not connected: there is nothing to end. */
    if (shutdown(LISTEN_FD, SHUT_RDWR) != 0 && errno != ENOTCONN)
      fail(1, "-use-listen-fd: descriptor 4 cannot be shut down: %s", strerror(errno));
    close(LISTEN_FD);
    return -1;
  }
  if (!prepare(LISTEN_FD, options, bound.any.sa_family))
    fail(1, "-use-listen-fd: descriptor 4 cannot be listened on: %s", strerror(errno));
  return LISTEN_FD;
}

int open_local_socket(const struct options *options) {
  if (options->use_listen_fd) return adopt_socket(options);
  if (options->local_bind == BIND_NEVER) return -1;
  int fd = bind_socket(options);
  /* An address that only the host has is published there all the same. */
  if (fd >= 0 || errno == EADDRNOTAVAIL) return fd;
  int reason = errno;
  char where[ENDPOINT_TEXT_BYTES];
  format_endpoint(&options->host, where);
  const char *proto = options->udp ? "udp" : "tcp";
  if (options->local_bind == BIND_ALWAYS)
    fail(1, "cannot listen on %s %s inside the VM: %s; free it, or start dockerd's proxy with -local-bind best-effort",
         proto, where, strerror(reason));
  say("not to be had at %s %s inside the VM: %s; on the host the port is forwarded all the same", proto, where,
      strerror(reason));
  return -1;
}
