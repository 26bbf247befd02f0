/* Firmware that has an MQTT session of its own shares it with the library: one connection, one certificate, one keepalive.
 *
 *     shared-session [HOST [PORT]]    set the device's state, wait until it is in the cloud, and end
 *
 * The session is libmosquitto's here; any client library will do that can publish, subscribe and tell of messages. */
#include <ioto.h>
#include <mosquitto.h>
#include <stdio.h>
#include <stdlib.h>

#define DEVICE "shared-1"
#define CLOUD_TIMEOUT_MS 10000

/* What the library asks of the session. */

static int publish(void *context, const char *topic, const void *payload, size_t payload_bytes, int qos)
{
    return mosquitto_publish(context, NULL, topic, (int) payload_bytes, payload, qos, false);
}

static int subscribe(void *context, const char *filter, int qos)
{
    return mosquitto_subscribe(context, NULL, filter, qos);
}

/* What the session tells. */

static void onConnect(struct mosquitto *session, void *io, int code)
{
    if (code == 0) {
        mosquitto_subscribe(session, NULL, "firmware/" DEVICE "/command", 1); /* the firmware's own business */
        ioTransportState(io, true);
    }
}

static void onDisconnect(struct mosquitto *session, void *io, int code) { ioTransportState(io, false); }

static void onMessage(struct mosquitto *session, void *io, const struct mosquitto_message *message)
{
    if (ioTransportMessage(io, message->topic, message->payload, (size_t) message->payloadlen) == 0) {
        printf("the firmware's own: %s\n", message->topic);
    }
}

int main(int count, char **arguments)
{
    const char *host = count > 1 ? arguments[1] : "127.0.0.1";
    int port = count > 2 ? atoi(arguments[2]) : 1883;
    Io *io = ioOpen("{ deviceId: '" DEVICE "', accountId: 'demo',"
                    "  database: { path: 'shared-session.db', schema: 'schema.json5', syncDelay: '1s' } }");
    if (io == NULL) {
        fprintf(stderr, "%s\n", dbGetError(NULL));
        return 1;
    }
    mosquitto_lib_init();
    struct mosquitto *session = mosquitto_new(DEVICE, false, io);
    if (session == NULL) return 1;
    mosquitto_will_set(session, "$aws/rules/IotoDevice/ioto/service/" DEVICE "/db/offline", 7, "{\"v\":2}", 1, false);
    mosquitto_connect_callback_set(session, onConnect);
    mosquitto_disconnect_callback_set(session, onDisconnect);
    mosquitto_message_callback_set(session, onMessage);

    IoTransport transport = {sizeof transport, session, publish, subscribe};
    int code = ioSetTransport(io, &transport);
    if (code == 0) code = ioStart(io);
    mosquitto_connect_async(session, host, port, 60);
    mosquitto_loop_start(session);

    if (code == 0) code = dbSet(ioGetDb(io), "Device", DB_PROPS("state", "running"), DB_PARAMS(.upsert = true));
    if (code == 0) code = ioSync(io, CLOUD_TIMEOUT_MS);
    printf("%s\n", code == 0 ? "the device's state is in the cloud" : dbGetError(NULL));

    ioStop(io); /* first, while the session still takes its goodbye */
    mosquitto_disconnect(session);
    mosquitto_loop_stop(session, false);
    ioClose(io);
    mosquitto_destroy(session);
    return code == 0 ? 0 : 1;
}
