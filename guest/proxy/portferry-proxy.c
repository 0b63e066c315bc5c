/*
 * dockerd's userland proxy: has the host of this VM listen on a port that a container publishes, as long as it
 * runs, and does docker-proxy's own work inside the VM.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#include "lease.h"
#include "local-socket.h"
#include "loop.h"
#include "arguments.h"
#include "relay.h"
#include "status.h"

static struct options options;
static int local_socket;
static bool stopped;

static void on_signal(struct watch *watch, uint32_t events) {
  (void)watch;
  (void)events;
  stopped = true;
}

/* Signals come as events, so that each finds the program in order. */
static void watch_signals(void) {
  static struct watch signals;
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  signals = (struct watch){.on_ready = on_signal};
  if (sigprocmask(SIG_BLOCK, &set, NULL) != 0 || (signals.fd = signalfd(-1, &set, SFD_CLOEXEC)) < 0 ||
      !loop_add(&signals, EPOLLIN) || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
    fail(1, "cannot wait for signals: %s", strerror(errno));
}

/* A connection takes two descriptors. Where the limit stays low, clients wait for each other. */
static void raise_descriptor_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static void on_granted(void) {
  if (local_socket >= 0 && options.udp) udp_relay_start(local_socket, &options.container);
  else if (local_socket >= 0) tcp_relay_start(local_socket, &options.container);
  status_ready();
}

static int64_t earlier(int64_t a, int64_t b) {
  return a < b ? a : b;
}

int main(int count, char **words) {
  status_open();
  options = read_options(count, words);
  loop_open();
  watch_signals();
  raise_descriptor_limit();
  local_socket = open_local_socket(&options);
  lease_ask(&options, on_granted);
  while (!stopped) {
    loop_turn(earlier(lease_deadline(), earlier(tcp_relay_deadline(), udp_relay_deadline())));
    lease_on_time();
    tcp_relay_on_time();
    udp_relay_on_time();
  }
  tcp_relay_stop();
  lease_give_back();
  return 0;
}
