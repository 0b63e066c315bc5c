/* IPv4 and IPv6 addresses with a port. */
#ifndef ADDRESS_H
#define ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

/* The longest text of an address with its port, such as [2001:db8::1]:65535, and of one without. */
enum { ENDPOINT_TEXT_BYTES = INET6_ADDRSTRLEN + 8, IP_TEXT_BYTES = INET6_ADDRSTRLEN };

union address {
  struct sockaddr any;
  struct sockaddr_in four;
  struct sockaddr_in6 six;
};

/* Reads a literal IP address; false if it is none. The port becomes 0. */
bool parse_ip(const char *text, union address *address);

void set_port(union address *address, unsigned port);

/* In the host's byte order. */
unsigned get_port(const union address *address);

socklen_t address_bytes(const union address *address);

/* Writes the address alone: 127.0.0.1, ::1. */
void format_ip(const union address *address, char text[IP_TEXT_BYTES]);

/* Writes address and port: 127.0.0.1:80, [::1]:80. */
void format_endpoint(const union address *address, char text[ENDPOINT_TEXT_BYTES]);

#endif
