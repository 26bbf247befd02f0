#include "toil.h"

#include <pthread.h>

#define NOTES 40
#define PAUSE_MS 10

struct Toil {
    Db *db;
    pthread_t thread;
    pthread_mutex_t lock;
    bool isOver;
    int failures;
    int rounds;
};

static bool goesOn(Toil *toil)
{
    pthread_mutex_lock(&toil->lock);
    bool result = !toil->isOver;
    pthread_mutex_unlock(&toil->lock);
    return result;
}

static void *work(void *argument)
{
    Toil *toil = argument;
    for (; goesOn(toil); toil->rounds++) {
        char id[24], number[24];
        snprintf(id, sizeof id, "w%d", toil->rounds % NOTES);
        snprintf(number, sizeof number, "%d", toil->rounds);
        if (toil->rounds % 7 == 6) {
            if (dbRemove(toil->db, "Note", DB_PROPS("id", id), NULL) < 0) toil->failures++;
        } else if (dbSet(toil->db, "Note", DB_PROPS("id", id, "count", number), NULL) != 0) {
            toil->failures++;
        }
        pause_ms(PAUSE_MS);
    }
    return NULL;
}

Toil *toilStart(Db *db)
{
    Toil *toil = calloc(1, sizeof *toil);
    if (toil == NULL) abort();
    toil->db = db;
    pthread_mutex_init(&toil->lock, NULL);
    REQUIRE(pthread_create(&toil->thread, NULL, work, toil) == 0);
    return toil;
}

int toilEnd(Toil *toil)
{
    pthread_mutex_lock(&toil->lock);
    toil->isOver = true;
    pthread_mutex_unlock(&toil->lock);
    pthread_join(toil->thread, NULL);
    int failures = toil->failures;
    note("%d changes", toil->rounds);
    pthread_mutex_destroy(&toil->lock);
    free(toil);
    return failures;
}
