#include "loop.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "status.h"

enum { EVENTS_PER_TURN = 64 };

static int epoll = -1;

/* Whose owners are freed at the end of this turn. */
static struct watch *freed;

void loop_open(void) {
  epoll = epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) fail(1, "cannot wait for events: %s", strerror(errno));
}

static bool control(int operation, struct watch *watch, uint32_t events) {
  /* Level-triggered, an end of which nothing is wanted would be told without end. */
  struct epoll_event event = {.events = events ? events : EPOLLET, .data.ptr = watch};
  watch->events = events;
  return epoll_ctl(epoll, operation, watch->fd, &event) == 0;
}

bool loop_add(struct watch *watch, uint32_t events) {
  return control(EPOLL_CTL_ADD, watch, events);
}

void loop_change(struct watch *watch, uint32_t events) {
  /* It was added before: only a mistake in this program can make it fail. */
  if (events != watch->events && !control(EPOLL_CTL_MOD, watch, events))
    fail(1, "cannot wait for descriptor %d: %s", watch->fd, strerror(errno));
}

void loop_close(struct watch *watch) {
  if (watch->fd < 0) return;
  close(watch->fd);
  watch->fd = -1;
}

void loop_free_owner(struct watch *watch) {
  watch->next_freed = freed;
  freed = watch;
}

void loop_turn(int64_t deadline) {
  struct epoll_event events[EVENTS_PER_TURN];
  int64_t left = deadline == NEVER ? -1 : deadline - now_ms();
  int timeout = deadline == NEVER ? -1 : left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
  int count = epoll_wait(epoll, events, EVENTS_PER_TURN, timeout);
  if (count < 0 && errno != EINTR) fail(1, "cannot wait for events: %s", strerror(errno));
  for (int index = 0; index < count; index++) {
    struct watch *watch = events[index].data.ptr;
    if (watch->fd >= 0) watch->on_ready(watch, events[index].events);
  }
  while (freed != NULL) {
    struct watch *next = freed->next_freed;
    free(freed->owner);
    freed = next;
  }
}

int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
