/* Triggers on a loop of poll(2): its descriptor stands beside the firmware's own. */
#define NAME "loop-poll"
#include "loop.h"

#include <poll.h>

int main(void)
{
    Sampler sampler = {0};
    samplerOpen(&sampler);
    struct pollfd set[] = {{.fd = dbGetFd(sampler.db), .events = POLLIN}};
    while (!samplerIsDone(&sampler)) {
        int ready = poll(set, 1, SAMPLE_MS);
        if (ready < 0) break;
        if (ready == 0 && sampler.taken < SAMPLES) samplerTake(&sampler);
        if (set[0].revents & POLLIN) dbDispatch(sampler.db, TRIGGERS_MS_MAX);
    }
    return samplerClose(&sampler);
}
