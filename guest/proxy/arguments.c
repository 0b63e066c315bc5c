#include "arguments.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "status.h"

#define DEFAULT_CONTROL "/run/portferry/proxy.sock"

static const char HELP[] =
    "portferry-proxy - dockerd's userland proxy that has the host of a VM listen\n"
    "\n"
    "SYNOPSIS\n"
    "  portferry-proxy -proto tcp|udp -host-ip IP -host-port PORT\n"
    "                  -container-ip IP -container-port PORT [-use-listen-fd]\n"
    "                  [-control PATH] [-local-bind best-effort|always|never]\n"
    "\n"
    "DESCRIPTION\n"
    "  dockerd starts it for each port that a container publishes. It asks the portferry agent in this VM,\n"
    "  which asks the host, to listen on the port. dockerd hears whether the host does: where it does not,\n"
    "  `docker run` fails with the reason. It stays until SIGINT or SIGTERM, and then gives the port back. When\n"
    "  the agent goes, it asks again until the agent is back.\n"
    "\n"
    "  Inside the VM it takes docker-proxy's place, too: it listens on the same port there, and passes\n"
    "  connections and datagrams on to the container.\n"
    "\n"
    "OPTIONS (each also with two dashes, and as -name=value)\n"
    "  -proto tcp|udp        what is forwarded (default tcp)\n"
    "  -host-ip IP           the address that the host listens on (default 0.0.0.0)\n"
    "  -host-port PORT       and its port\n"
    "  -container-ip IP      where connections go\n"
    "  -container-port PORT\n"
    "  -use-listen-fd        descriptor 4 is the socket to listen on inside the VM\n"
    "  -control PATH         the agent's socket (default $PORTFERRY_PROXY_SOCKET, else\n"
    "                        " DEFAULT_CONTROL ")\n"
    "  -local-bind HOW       whether the port is to be had inside the VM, too: best-effort (the default),\n"
    "                        always (a failure to bind is one of the container), never\n"
    "  -no-local-ip          the same as -local-bind never\n"
    "  -v, -version          print the version\n"
    "  -h, -help             print this\n"
    "\n"
    "FILES\n"
    "  Descriptor 3, where it is open, gets \"0\\n\" when the host listens, else \"1\\n\" and the reason.\n"
    "\n"
    "EXIT STATUS\n"
    "  0 told to stop, 1 the host does not listen, 2 wrong usage\n"
    "\n"
    "EXAMPLES\n"
    "  In /etc/docker/daemon.json, for all containers:\n"
    "    { \"userland-proxy-path\": \"/usr/local/bin/portferry-proxy\" }\n"
    "\n"
    "  By hand, for one port, until Ctrl-C:\n"
    "    portferry-proxy -host-ip 127.0.0.1 -host-port 8080 -container-ip 172.17.0.2 -container-port 80\n";

enum flag {
  PROTO,
  HOST_IP,
  HOST_PORT,
  CONTAINER_IP,
  CONTAINER_PORT,
  CONTROL,
  LOCAL_BIND,
  NO_LOCAL_IP,
  USE_LISTEN_FD,
  VERSION,
  HELP_FLAG
};

static const struct {
  const char *name;
  enum flag flag;
  /* One without a value is true or false. */
  bool has_value;
} FLAGS[] = {
    {"proto", PROTO, true},
    {"host-ip", HOST_IP, true},
    {"host-port", HOST_PORT, true},
    {"container-ip", CONTAINER_IP, true},
    {"container-port", CONTAINER_PORT, true},
    {"control", CONTROL, true},
    {"local-bind", LOCAL_BIND, true},
    {"no-local-ip", NO_LOCAL_IP, false},
    {"use-listen-fd", USE_LISTEN_FD, false},
    {"v", VERSION, false},
    {"version", VERSION, false},
    {"h", HELP_FLAG, false},
    {"help", HELP_FLAG, false},
};

static _Noreturn void print(const char *text) {
  if (fputs(text, stdout) == EOF || fflush(stdout) == EOF) exit(1);
  exit(0);
}

static unsigned read_port(const char *name, const char *text) {
  char *end;
  unsigned long port = strtoul(text, &end, 10);
  if (*text < '0' || *text > '9' || *end != '\0' || port < 1 || port > 65535)
    fail(2, "-%s is a port from 1 to 65535, not \"%s\"", name, text);
  return (unsigned)port;
}

static void read_ip(const char *name, const char *text, union address *address) {
  unsigned port = get_port(address);
  if (!parse_ip(text, address)) fail(2, "-%s is a literal IP address, not \"%s\"", name, text);
  set_port(address, port);
}

static enum local_bind read_local_bind(const char *text) {
  if (strcmp(text, "best-effort") == 0) return BIND_BEST_EFFORT;
  if (strcmp(text, "always") == 0) return BIND_ALWAYS;
  if (strcmp(text, "never") == 0) return BIND_NEVER;
  fail(2, "-local-bind is best-effort, always or never, not \"%s\"", text);
}

static bool read_proto(const char *text) {
  if (strcmp(text, "tcp") == 0) return false;
  if (strcmp(text, "udp") == 0) return true;
  if (strcmp(text, "sctp") == 0)
    fail(1, "portferry does not support sctp: publish tcp and udp ports only");
  fail(2, "-proto is tcp or udp, not \"%s\"", text);
}

static bool read_switch(const char *name, const char *text) {
  if (strcmp(text, "true") == 0 || strcmp(text, "1") == 0) return true;
  if (strcmp(text, "false") == 0 || strcmp(text, "0") == 0) return false;
  fail(2, "-%s is true or false, not \"%s\"", name, text);
}

static void apply(struct options *options, enum flag flag, const char *name, const char *value) {
  switch (flag) {
    case PROTO: options->udp = read_proto(value); break;
    case HOST_IP: read_ip(name, value, &options->host); break;
    case HOST_PORT: set_port(&options->host, read_port(name, value)); break;
    case CONTAINER_IP: read_ip(name, value, &options->container); break;
    case CONTAINER_PORT: set_port(&options->container, read_port(name, value)); break;
    case CONTROL: options->control = value; break;
    case LOCAL_BIND: options->local_bind = read_local_bind(value); break;
    case NO_LOCAL_IP:
      if (read_switch(name, value)) options->local_bind = BIND_NEVER;
      break;
    case USE_LISTEN_FD: options->use_listen_fd = read_switch(name, value); break;
    case VERSION: print("portferry-proxy " PORTFERRY_VERSION "\n");
    case HELP_FLAG: print(HELP);
  }
}

/* Finds a flag by the `length` characters of its name; ends the program if there is none. */
static size_t find_flag(const char *name, size_t length) {
  for (size_t index = 0; index < sizeof FLAGS / sizeof FLAGS[0]; index++)
    if (strlen(FLAGS[index].name) == length && strncmp(FLAGS[index].name, name, length) == 0) return index;
  fail(2, "there is no flag -%.*s; portferry-proxy -h lists them", (int)length, name);
}

struct options read_options(int count, char **words) {
  struct options options = {.control = getenv("PORTFERRY_PROXY_SOCKET")};
  if (options.control == NULL || *options.control == '\0') options.control = DEFAULT_CONTROL;
  options.host.any.sa_family = AF_INET;

  for (int at = 1; at < count; at++) {
    const char *word = words[at];
    if (word[0] != '-' || word[1] == '\0') fail(2, "there is a flag missing before \"%s\"", word);
    const char *name = word + (word[1] == '-' ? 2 : 1);
    size_t length = strcspn(name, "=");
    size_t index = find_flag(name, length);
    const char *value = name[length] == '=' ? name + length + 1 : FLAGS[index].has_value ? words[++at] : "true";
    if (value == NULL) fail(2, "-%s needs a value", FLAGS[index].name);
    apply(&options, FLAGS[index].flag, FLAGS[index].name, value);
  }

  if (get_port(&options.host) == 0) fail(2, "-host-port, the port that the host is to listen on, is missing");
  if (options.container.any.sa_family == AF_UNSPEC) fail(2, "-container-ip, where connections go, is missing");
  if (get_port(&options.container) == 0) fail(2, "-container-port, where connections go, is missing");
  size_t longest = sizeof((struct sockaddr_un *)0)->sun_path - 1;
  if (strlen(options.control) > longest)
    fail(2, "the path of the agent's socket may have %zu bytes, not %zu: %s", longest, strlen(options.control),
         options.control);
  return options;
}
