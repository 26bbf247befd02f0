/* Triggers on a loop of epoll(7), with a timerfd beside them. */
#define NAME "loop-epoll"
#include "loop.h"

#include <stdint.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

int main(void)
{
    Sampler sampler = {0};
    samplerOpen(&sampler);
    int triggers = dbGetFd(sampler.db);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    struct itimerspec period = {{0, SAMPLE_MS * 1000000L}, {0, SAMPLE_MS * 1000000L}};
    int loop = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event onTriggers = {.events = EPOLLIN, .data.fd = triggers};
    struct epoll_event onTimer = {.events = EPOLLIN, .data.fd = timer};
    if (timerfd_settime(timer, 0, &period, NULL) != 0 || epoll_ctl(loop, EPOLL_CTL_ADD, triggers, &onTriggers) != 0 ||
        epoll_ctl(loop, EPOLL_CTL_ADD, timer, &onTimer) != 0) {
        perror(NAME);
        return 1;
    }
    while (!samplerIsDone(&sampler)) {
        struct epoll_event ready[2];
        int count = epoll_wait(loop, ready, 2, -1);
        if (count < 0) break;
        for (int at = 0; at < count; at++) {
            uint64_t ticks;
            if (ready[at].data.fd == triggers) {
                dbDispatch(sampler.db, TRIGGERS_MS_MAX);
            } else if (read(timer, &ticks, sizeof ticks) == sizeof ticks && sampler.taken < SAMPLES) {
                samplerTake(&sampler);
            }
        }
    }
    close(loop);
    close(timer);
    return samplerClose(&sampler);
}
