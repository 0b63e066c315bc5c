#include "status.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STATUS_FD = 3 };

static bool waited_for;

static bool write_all(int fd, const char *bytes, size_t length) {
  while (length > 0) {
    ssize_t sent = write(fd, bytes, length);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return false;
    bytes += sent;
    length -= (size_t)sent;
  }
  return true;
}

void status_open(void) {
  waited_for = fcntl(STATUS_FD, F_GETFD) >= 0;
}

void status_ready(void) {
  if (!waited_for) return;
  waited_for = false;
  bool told = write_all(STATUS_FD, "0\n", 2);
  int reason = errno;
  close(STATUS_FD);
  if (!told) fail(1, "cannot tell dockerd that the host listens: %s; it is probably gone", strerror(reason));
}

/* Writes the prefix, the text and, where wanted, a line break to a descriptor. */
static bool tell(int fd, const char *prefix, const char *format, va_list values, const char *end) {
  char text[MESSAGE_BYTES];
  size_t start = (size_t)snprintf(text, sizeof text, "%s", prefix);
  /* What is too long is cut; the end always fits. */
  vsnprintf(text + start, sizeof text - start - strlen(end), format, values);
  strcat(text, end);
  return write_all(fd, text, strlen(text));
}

void fail(int code, const char *format, ...) {
  va_list values;
  if (waited_for) {
    va_start(values, format);
    bool told = tell(STATUS_FD, "1\n", format, values, "");
    va_end(values);
    if (told) exit(code);
  }
  va_start(values, format);
  bool told = tell(STDERR_FILENO, "portferry-proxy: ", format, values, "\n");
  va_end(values);
  /* There is nobody left to tell; the exit code is all there is. */
  exit(told || code != 0 ? code : 1);
}

void say(const char *format, ...) {
  va_list values;
  va_start(values, format);
  /* A log that takes nothing any more is no reason to stop forwarding. */
  (void)tell(STDERR_FILENO, "portferry-proxy: ", format, values, "\n");
  va_end(values);
}

void make_one_line(char *text) {
  char *out = text;
  for (const char *in = text; *in != '\0'; in++) {
    bool printable = (unsigned char)*in > ' ' && *in != 0x7f;
    if (printable) *out++ = *in;
    else if (out > text && out[-1] != ' ') *out++ = ' ';
  }
  if (out > text && out[-1] == ' ') out--;
  *out = '\0';
}
