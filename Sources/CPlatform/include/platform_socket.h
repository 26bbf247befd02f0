/* What a transport over somebody else's socket library needs of the operating system, so that neither that library's
 * signals nor its descriptors reach the firmware. */
#ifndef IOTO_PLATFORM_SOCKET_H
#define IOTO_PLATFORM_SOCKET_H

#include <stdbool.h>
#include <stdint.h>

/* The calling thread's errno, to be read straight after the call that set it. */
int platform_errno(void);

/* Keep a SIGPIPE that the calls up to platform_sigpipe_release() raise in this thread from being delivered. errno is
 * left as it is by both. The value returned is handed to the release. */
int platform_sigpipe_hold(void);
void platform_sigpipe_release(int held);

/* Remember the process's SIGPIPE action, and put it back where it was set to "ignore" in between. Each save is followed
 * by a restore in the same thread; other threads wait for it. */
void platform_sigpipe_action_save(void);
void platform_sigpipe_action_restore(void);

/* Whether two descriptors can be opened now. */
bool platform_descriptors_left(void);
/* Close `fd` in programs that this process starts. */
void platform_close_on_exec(int fd);

/* State of a connected socket that may hold unread data: 0 when it is usable, an errno when it failed, -1 when the peer
 * has closed it and everything is read. */
int platform_socket_state(int fd);
/* Bytes that this process has taken from a TCP socket, or -1 where the kernel does not count them. */
int64_t platform_socket_taken(int fd);
/* Have what has come acknowledged at once. A broker that sends small packets with Nagle's delay, as Mosquitto does unless it is
 * told otherwise, holds the next one back for the 40 ms that an acknowledgement may be delayed. Holds for a while only. */
void platform_socket_acknowledge(int fd);
/* End the connection both ways, leaving the descriptor open. */
void platform_socket_shutdown(int fd);

/* Whether `path` is a folder. */
bool platform_is_folder(const char *path);

#endif
