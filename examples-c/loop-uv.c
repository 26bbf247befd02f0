/* Triggers on a libuv loop: a poll handle watches the descriptor. */
#define NAME "loop-uv"
#include "loop.h"

#include <uv.h>

static uv_poll_t triggers;
static uv_timer_t timer;

static void onTriggers(uv_poll_t *handle, int status, int events)
{
    Sampler *sampler = handle->data;
    if (status == 0) dbDispatch(sampler->db, TRIGGERS_MS_MAX);
    if (!samplerIsDone(sampler)) return;
    /* Not watched any more before the database, and with it the descriptor, is closed. */
    uv_close((uv_handle_t *) &triggers, NULL);
    uv_close((uv_handle_t *) &timer, NULL);
}

static void onTimer(uv_timer_t *handle)
{
    Sampler *sampler = handle->data;
    if (sampler->taken < SAMPLES) samplerTake(sampler);
}

int main(void)
{
    Sampler sampler = {0};
    samplerOpen(&sampler);
    uv_loop_t *loop = uv_default_loop();
    triggers.data = timer.data = &sampler;
    if (uv_poll_init(loop, &triggers, dbGetFd(sampler.db)) != 0 || uv_timer_init(loop, &timer) != 0) return 1;
    uv_poll_start(&triggers, UV_READABLE, onTriggers);
    uv_timer_start(&timer, onTimer, SAMPLE_MS, SAMPLE_MS);
    uv_run(loop, UV_RUN_DEFAULT);
    uv_loop_close(loop);
    return samplerClose(&sampler);
}
