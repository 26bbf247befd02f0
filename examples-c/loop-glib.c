/* Triggers on a GLib main loop: a source watches the descriptor. */
#define NAME "loop-glib"
#include "loop.h"

#include <glib-unix.h>

static GMainLoop *loop;

static gboolean onTriggers(gint fd, GIOCondition condition, gpointer data)
{
    Sampler *sampler = data;
    dbDispatch(sampler->db, TRIGGERS_MS_MAX);
    if (!samplerIsDone(sampler)) return G_SOURCE_CONTINUE;
    g_main_loop_quit(loop);
    return G_SOURCE_REMOVE;
}

static gboolean onTimer(gpointer data)
{
    Sampler *sampler = data;
    samplerTake(sampler);
    return sampler->taken < SAMPLES;
}

int main(void)
{
    Sampler sampler = {0};
    samplerOpen(&sampler);
    loop = g_main_loop_new(NULL, FALSE);
    g_unix_fd_add(dbGetFd(sampler.db), G_IO_IN, onTriggers, &sampler);
    g_timeout_add(SAMPLE_MS, onTimer, &sampler);
    g_main_loop_run(loop);
    g_main_loop_unref(loop);
    return samplerClose(&sampler);
}
