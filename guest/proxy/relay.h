/* Carries what comes to the port inside the VM to the container, as docker-proxy does. */
#ifndef RELAY_H
#define RELAY_H

#include <stdint.h>

#include "address.h"

/* A relay reads this much at once; more than the largest datagram. One buffer serves all connections. */
enum { RELAY_BUFFER_BYTES = 65536 };

/* Begins to accept connections from a listening socket. @param container where they go */
void tcp_relay_start(int listener, const union address *container);

/* When (now_ms) tcp_relay_on_time is to be called. */
int64_t tcp_relay_deadline(void);

void tcp_relay_on_time(void);

/* Resets every connection: what they have carried is not all there was. */
void tcp_relay_stop(void);

/* Begins to carry datagrams from a bound socket and back. @param container where they go */
void udp_relay_start(int socket, const union address *container);

/* When (now_ms) udp_relay_on_time is to be called. */
int64_t udp_relay_deadline(void);

void udp_relay_on_time(void);

#endif
