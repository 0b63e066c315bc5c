/* What dockerd, and through it a person, is told. */
#ifndef STATUS_H
#define STATUS_H

#include <stdbool.h>

/* The longest message; one write of that size to a pipe arrives in one piece. */
enum { MESSAGE_BYTES = 2048 };

/* Whether descriptor 3 is dockerd's status pipe; to be called before anything else is opened. */
void status_open(void);

/* Tells dockerd that the host listens, and that nothing more will come over the pipe. */
void status_ready(void);

/* Ends the program: its reason goes to dockerd while that waits for the status, and else to stderr. */
_Noreturn void fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* One line on stderr, which dockerd puts into its log. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Makes a text that came from elsewhere one line: what is not printable, line breaks too, becomes a space. */
void make_one_line(char *text);

#endif
