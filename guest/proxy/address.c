#include "address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

bool parse_ip(const char *text, union address *address) {
  memset(address, 0, sizeof *address);
  address->any.sa_family = AF_INET;
  if (inet_pton(AF_INET, text, &address->four.sin_addr) == 1) return true;
  address->any.sa_family = AF_INET6;
  return inet_pton(AF_INET6, text, &address->six.sin6_addr) == 1;
}

/* The port is at the same place in both families. */
void set_port(union address *address, unsigned port) {
  address->four.sin_port = htons((uint16_t)port);
}

unsigned get_port(const union address *address) {
  return ntohs(address->four.sin_port);
}

socklen_t address_bytes(const union address *address) {
  return address->any.sa_family == AF_INET ? sizeof address->four : sizeof address->six;
}

void format_ip(const union address *address, char text[IP_TEXT_BYTES]) {
  bool four = address->any.sa_family == AF_INET;
  const void *bytes = four ? (const void *)&address->four.sin_addr : (const void *)&address->six.sin6_addr;
  /* Cannot fail: the family is one of the two, and the text has room for either. */
  (void)inet_ntop(address->any.sa_family, bytes, text, IP_TEXT_BYTES);
}

void format_endpoint(const union address *address, char text[ENDPOINT_TEXT_BYTES]) {
  char ip[IP_TEXT_BYTES];
  format_ip(address, ip);
  bool four = address->any.sa_family == AF_INET;
  snprintf(text, ENDPOINT_TEXT_BYTES, four ? "%s:%u" : "[%s]:%u", ip, get_port(address));
}
