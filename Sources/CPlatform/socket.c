#define _GNU_SOURCE
#include "platform_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int platform_errno(void) { return errno; }

enum { SIGPIPE_WAS_BLOCKED = 0, SIGPIPE_TO_UNBLOCK = 1, SIGPIPE_WAS_PENDING = 2 };

int platform_sigpipe_hold(void)
{
    int code = errno, held = SIGPIPE_WAS_BLOCKED;
    sigset_t pipe_only, before, pending;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    sigemptyset(&pending);
    sigpending(&pending);
    if (pthread_sigmask(SIG_BLOCK, &pipe_only, &before) == 0 && !sigismember(&before, SIGPIPE)) {
        held = sigismember(&pending, SIGPIPE) ? SIGPIPE_WAS_PENDING : SIGPIPE_TO_UNBLOCK;
    }
    errno = code;
    return held;
}

void platform_sigpipe_release(int held)
{
    if (held == SIGPIPE_WAS_BLOCKED) {
        return; /* The thread takes no SIGPIPE at all: the library's own threads, for one. */
    }
    int code = errno;
    sigset_t pipe_only;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    if (held == SIGPIPE_TO_UNBLOCK) {
        /* write(2) raises SIGPIPE in the writing thread, so the one that is pending is ours. */
        struct timespec at_once = {0, 0};
        while (sigtimedwait(&pipe_only, NULL, &at_once) < 0 && errno == EINTR) {
        }
    }
    pthread_sigmask(SIG_UNBLOCK, &pipe_only, NULL);
    errno = code;
}

static pthread_mutex_t action_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction action_before;
static bool action_known;

void platform_sigpipe_action_save(void)
{
    /* Held until the restore: of two threads here at once, the second would save the first one's "ignore". */
    pthread_mutex_lock(&action_mutex);
    action_known = sigaction(SIGPIPE, NULL, &action_before) == 0;
}

void platform_sigpipe_action_restore(void)
{
    struct sigaction now;
    /* An action that another thread has set meanwhile stands. */
    if (action_known && sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_IGN) {
        sigaction(SIGPIPE, &action_before, NULL);
    }
    pthread_mutex_unlock(&action_mutex);
}

bool platform_descriptors_left(void)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        return false;
    }
    close(pair[0]);
    close(pair[1]);
    return true;
}

void platform_close_on_exec(int fd)
{
    int flags = fcntl(fd, F_GETFD);
    if (flags >= 0) {
        fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
    }
}

int platform_socket_state(int fd)
{
    int code = 0;
    socklen_t bytes = sizeof code;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &bytes) != 0) {
        return errno;
    }
    if (code != 0) {
        return code;
    }
    char byte;
    ssize_t got = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (got > 0) {
        return 0;
    }
    if (got == 0) {
        return -1;
    }
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : errno;
}

int64_t platform_socket_taken(int fd)
{
    struct tcp_info info;
    socklen_t bytes = sizeof info;
    int unread = 0;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &bytes) != 0 || ioctl(fd, FIONREAD, &unread) != 0 ||
        bytes < offsetof(struct tcp_info, tcpi_bytes_received) + sizeof info.tcpi_bytes_received) {
        return -1;
    }
    return (int64_t) info.tcpi_bytes_received - unread;
}

void platform_socket_acknowledge(int fd)
{
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof one);
}

void platform_socket_shutdown(int fd)
{
    if (fd >= 0) {
        shutdown(fd, SHUT_RDWR);
    }
}

bool platform_is_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    close(fd);
    return true;
}
