/* The event loop: descriptors that are waited for, and what is called when they are ready. */
#ifndef LOOP_H
#define LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

/* For no deadline at all. */
#define NEVER INT64_MAX

/* A descriptor that is waited for; part of what it belongs to. */
struct watch {
  /* -1 when it is not open. */
  int fd;
  void (*on_ready)(struct watch *self, uint32_t events);
  /* Whose it is: the memory that the watch is part of. */
  void *owner;
  /* What is waited for. */
  uint32_t events;
  struct watch *next_freed;
};

/* Ends the program when the OS has no room for a loop. */
void loop_open(void);

/* Waits for events of a descriptor, from now on. @returns whether the OS had room for that */
bool loop_add(struct watch *watch, uint32_t events);

/* Waits for other events. With none, an error is still told, once. */
void loop_change(struct watch *watch, uint32_t events);

/* Closes the descriptor; nothing more is told of it. */
void loop_close(struct watch *watch);

/* Frees a closed watch's owner when this turn's events have all been told: one of them may be for it. */
void loop_free_owner(struct watch *watch);

/* Waits for events, up to `deadline` (ms, of now_ms), and tells them. */
void loop_turn(int64_t deadline);

/* A clock in ms that only goes forward. */
int64_t now_ms(void);

#endif
