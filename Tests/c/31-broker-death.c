/*
    A firmware and a cloud work without a pause while the broker between them is killed with SIGKILL, with all it had not
    saved, and started again, five times over. Both must find their way back by themselves, and at the end they must hold
    the same items, those changed in the cloud meanwhile included.
 */
#include "support/device.h"

#include <pthread.h>

#define DEATHS 5

typedef struct Worker {
    Db *db;
    pthread_mutex_t lock;
    bool isOver;
    int failures;
    int rounds;
} Worker;

static bool goesOn(Worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    bool result = !worker->isOver;
    pthread_mutex_unlock(&worker->lock);
    return result;
}

static void *work(void *argument)
{
    Worker *worker = argument;
    for (; goesOn(worker); worker->rounds++) {
        char id[24], number[24];
        snprintf(id, sizeof id, "w%d", worker->rounds % 40);
        snprintf(number, sizeof number, "%d", worker->rounds);
        if (worker->rounds % 7 == 6) {
            if (dbRemove(worker->db, "Note", DB_PROPS("id", id), NULL) < 0) worker->failures++;
        } else if (dbSet(worker->db, "Note", DB_PROPS("id", id, "count", number), NULL) != 0) {
            worker->failures++;
        }
        pause_ms(10);
    }
    return NULL;
}

int main(void)
{
    static Worker worker = {.lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_t thread;
    scenarioBegin();
    Broker broker = brokerMake();
    Cloud cloud = cloudMake(broker.port);
    brokerStart(&broker);
    cloudStart(&cloud);
    Io *io = deviceStart("broker-death.db", broker.port, SYNC_SOON);
    worker.db = ioGetDb(io);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    REQUIRE(pthread_create(&thread, NULL, work, &worker) == 0);
    for (int death = 0; death < DEATHS; death++) {
        pause_ms(500 + death * 200);
        brokerKill(&broker);
        EXPECT(cloudPut("Setting", format("{\"id\":\"s%d\",\"deviceId\":\"d1\",\"value\":\"of death %d\"}", death % 2, death)));
        pause_ms(200);
        brokerStart(&broker);
    }
    pause_ms(300);
    pthread_mutex_lock(&worker.lock);
    worker.isOver = true;
    pthread_mutex_unlock(&worker.lock);
    pthread_join(thread, NULL);
    EXPECT_NUMBER(worker.failures, 0);
    note("%d changes over %d deaths", worker.rounds, DEATHS);
    claim("the firmware's calls do not notice the death of the broker");

    EXPECT_CODE(ioSync(io, 2 * PATIENCE_MS), 0);
    IoStatus status = deviceStatus(io);
    EXPECT_NUMBER(status.pendingItems, 0);
    EXPECT_NUMBER(status.rejectedItems, 0);
    EXPECT(status.connections >= 2);
    EXPECT(cloudAgrees(worker.db, "Note"));
    claim("device and cloud find their way back, and hold the same notes");
    EXPECT_WITHIN(PATIENCE_MS, cloudAgrees(worker.db, "Setting"));
    EXPECT_NUMBER(count(worker.db, "Setting", NULL), 2);
    claim("settings changed while the broker was dead have come down");
    ioClose(io);
    cloudStop(&cloud);
    brokerStop(&broker);
    return scenarioEnd();
}
