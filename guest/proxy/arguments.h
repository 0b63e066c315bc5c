/* The command line: docker-proxy's, with a few flags more. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>

#include "address.h"

/* Whether the port is to be had inside the VM, too. */
enum local_bind {
  /* If it can be bound. */
  BIND_BEST_EFFORT,
  /* If it cannot be bound, dockerd is told of a failure. */
  BIND_ALWAYS,
  BIND_NEVER
};

struct options {
  bool udp;
  /* What the host listens on. */
  union address host;
  union address container;
  /* The agent's socket. */
  const char *control;
  enum local_bind local_bind;
  /* Descriptor 4 is a socket that is bound already. */
  bool use_listen_fd;
};

/* Reads the command line. Ends the program after -h and -v, and with code 2 and a reason if it is wrong. */
struct options read_options(int count, char **words);

#endif
