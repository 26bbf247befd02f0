/*
    Firmware lends its own MQTT session: the library makes no connection, sends and receives through the session, and tells the
    firmware which messages are its own. Replication survives that the session comes and goes, refuses to publish, and loses
    messages; and stops without it.
 */
#include "support/device.h"

#include <mosquitto.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define COMMANDS "firmware/d1/command"

typedef struct Session {
    struct mosquitto *client;
    Io *io;
    atomic_int published, subscribed, own, foreign, refusals, losses;
} Session;

static Session session;

static int publish(void *context, const char *topic, const void *payload, size_t size, int qos)
{
    Session *session = context;
    if (session->refusals > 0) {
        session->refusals--;
        return -1;
    }
    session->published++;
    return mosquitto_publish(session->client, NULL, topic, (int) size, payload, qos, false);
}

static int subscribe(void *context, const char *filter, int qos)
{
    Session *session = context;
    session->subscribed++;
    return mosquitto_subscribe(session->client, NULL, filter, qos);
}

static void onConnect(struct mosquitto *client, void *object, int code)
{
    Session *session = object;
    if (code != 0) return;
    mosquitto_subscribe(client, NULL, COMMANDS, 1);
    EXPECT_CODE(ioTransportState(session->io, true), 0);
}

static void onDisconnect(struct mosquitto *client, void *object, int code)
{
    (void) client;
    (void) code;
    ioTransportState(((Session *) object)->io, false);
}

static void onMessage(struct mosquitto *client, void *object, const struct mosquitto_message *message)
{
    Session *session = object;
    (void) client;
    if (session->losses > 0) {
        session->losses--;
        return;
    }
    int code = ioTransportMessage(session->io, message->topic, message->payload, (size_t) message->payloadlen);
    if (code == 1) session->own++;
    if (code == 0) session->foreign++;
    EXPECT(code >= 0);
}

static void refusesMisuse(Io *io)
{
    IoTransport whole = {sizeof whole, NULL, publish, subscribe};
    IoTransport half = {sizeof half, NULL, publish, NULL};
    IoTransport sizeless = {0, NULL, publish, subscribe};
    IoTransport early = {offsetof(IoTransport, subscribe), NULL, publish, subscribe};
    EXPECT_CODE(ioSetTransport(io, &early), DB_ERR_MISUSE);
    EXPECT_CODE(ioSetTransport(NULL, &whole), DB_ERR_MISUSE);
    EXPECT_CODE(ioSetTransport(io, NULL), DB_ERR_MISUSE);
    EXPECT_CODE(ioSetTransport(io, &half), DB_ERR_MISUSE);
    EXPECT_CODE(ioSetTransport(io, &sizeless), DB_ERR_MISUSE);
    EXPECT_CODE(ioTransportState(io, true), DB_ERR_MISUSE);
    EXPECT_CODE(ioTransportMessage(io, "a", "b", 1), DB_ERR_MISUSE);
    claim("what is no transport is refused");
}

static void carriesBothWays(Io *io, int port)
{
    Db *db = ioGetDb(io);
    EXPECT_CODE(dbSet(db, "Note", DB_PROPS("id", "n1", "text", "before the session"), DB_PARAMS(.upsert = true)), 0);
    pause_ms(200);
    EXPECT(deviceStatus(io).link == IO_LINK_CONNECTING);
    EXPECT_NUMBER(session.published, 0);
    EXPECT(mosquitto_connect_async(session.client, "127.0.0.1", port, 60) == MOSQ_ERR_SUCCESS);
    mosquitto_loop_start(session.client);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT(cloudFieldIs("Note", "n1", "text", "before the session"));
    EXPECT(session.subscribed > 0);
    EXPECT(cloudPut("Setting", "{\"id\":\"s1\",\"deviceId\":\"d1\",\"value\":\"down\"}"));
    EXPECT_WITHIN(PATIENCE_MS, exists(db, "Setting", DB_PROPS("id", "s1")));
    claim("changes go up and come down through the firmware's session");
}

static void leavesTheFirmwaresOwn(Spy *spy)
{
    int own = session.own;
    EXPECT(spySay(spy, COMMANDS, "restart"));
    EXPECT_WITHIN(PATIENCE_MS, session.foreign == 1);
    EXPECT_NUMBER(session.own, own);
    claim("the firmware's own messages stay its own");
}

static void goesOnWhenItIsBack(Io *io)
{
    Db *db = ioGetDb(io);
    EXPECT(mosquitto_disconnect(session.client) == MOSQ_ERR_SUCCESS);
    EXPECT_WITHIN(PATIENCE_MS, deviceStatus(io).link != IO_LINK_CONNECTED);
    EXPECT_CODE(dbSet(db, "Note", DB_PROPS("id", "n2", "text", "without a session"), DB_PARAMS(.upsert = true)), 0);
    EXPECT(cloudPut("Setting", "{\"id\":\"s2\",\"deviceId\":\"d1\",\"value\":\"down\"}"));
    mosquitto_loop_stop(session.client, false);
    EXPECT(mosquitto_reconnect_async(session.client) == MOSQ_ERR_SUCCESS);
    mosquitto_loop_start(session.client);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT(cloudHas("Note", "n2"));
    EXPECT(exists(db, "Setting", DB_PROPS("id", "s2")));
    claim("it goes on when the session is back");
}

static void saysAgainWhatIsLost(Io *io)
{
    Db *db = ioGetDb(io);
    session.losses = 1;
    EXPECT_CODE(dbSet(db, "Note", DB_PROPS("id", "n3", "text", "lost"), DB_PARAMS(.upsert = true)), 0);
    EXPECT_WITHIN(PATIENCE_MS, session.losses == 0);
    EXPECT_CODE(ioSync(io, 2 * PATIENCE_MS), 0);
    session.refusals = 1;
    EXPECT_CODE(dbSet(db, "Note", DB_PROPS("id", "n4", "text", "refused"), DB_PARAMS(.upsert = true)), 0);
    EXPECT_WITHIN(PATIENCE_MS, session.refusals == 0);
    EXPECT_CODE(ioSync(io, 2 * PATIENCE_MS), 0);
    EXPECT(cloudAgrees(db, "Note"));
    claim("a message that is lost or refused is said again");
}

static void stopsAndStartsAgain(Io *io, Spy *spy)
{
    ioStop(io);
    EXPECT_WITHIN(PATIENCE_MS, spyCount(spy, "/db/offline", NULL) == 1);
    EXPECT_CODE(ioTransportMessage(io, "ioto/device/d1/sync/SYNC", "{}", 2), 1);
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    claim("it stops with a goodbye, and starts again");
}

int main(void)
{
    scenarioBegin();
    Services services = servicesStart();
    // Nobody listens there: the library must not connect by itself.
    Io *io = deviceOpen("shared.db", 1, SYNC_SOON);
    REQUIRE(io != NULL);
    refusesMisuse(io);
    mosquitto_lib_init();
    session.io = io;
    session.client = mosquitto_new("firmware-d1", false, &session);
    REQUIRE(session.client != NULL);
    mosquitto_connect_callback_set(session.client, onConnect);
    mosquitto_disconnect_callback_set(session.client, onDisconnect);
    mosquitto_message_callback_set(session.client, onMessage);
    IoTransport transport = {sizeof transport, &session, publish, subscribe};
    EXPECT_CODE(ioSetTransport(io, &transport), 0);
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_CODE(ioSetTransport(io, &transport), DB_ERR_MISUSE);
    EXPECT_CODE(ioTransportMessage(io, "ioto/device/d1/sync/SYNC", NULL, 3), DB_ERR_MISUSE);
    carriesBothWays(io, services.broker.port);
    Spy *spy = spyStart(services.broker.port);
    leavesTheFirmwaresOwn(spy);
    goesOnWhenItIsBack(io);
    saysAgainWhatIsLost(io);
    stopsAndStartsAgain(io, spy);
    ioStop(io);
    mosquitto_disconnect(session.client);
    mosquitto_loop_stop(session.client, false);
    ioClose(io);
    mosquitto_destroy(session.client);
    spyStop(spy);
    servicesStop(&services);
    return scenarioEnd();
}
