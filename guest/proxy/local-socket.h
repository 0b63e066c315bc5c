/* The port inside the VM. */
#ifndef LOCAL_SOCKET_H
#define LOCAL_SOCKET_H

#include "arguments.h"

/*
 * The socket that clients inside the VM come to, TCP: listening. Ends the program where one must be had and
 * cannot be.
 * @returns -1 when there is to be none, or none can be had
 */
int open_local_socket(const struct options *options);

#endif
