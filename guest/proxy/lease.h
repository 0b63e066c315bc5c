/* What the agent is asked for, and holds as long as its connection lasts. */
#ifndef LEASE_H
#define LEASE_H

#include <stdint.h>

#include "arguments.h"

/*
 * Asks the agent to have the host listen. Where that fails the first time, the program ends with the reason;
 * later the agent is asked again until the host listens.
 * @param on_granted called once, when the host listens for the first time
 */
void lease_ask(const struct options *options, void (*on_granted)(void));

/* When (now_ms) lease_on_time is to be called; NEVER if not at all. */
int64_t lease_deadline(void);

void lease_on_time(void);

/* Gives the port back, and waits a moment until the agent has taken it: it may be asked for again at once. */
void lease_give_back(void);

#endif
