/*
    A broker that takes nobody without a certificate of our authority, one that wants a shared key, and one that wants a password;
    the cloud is inside. Devices that have what is asked for replicate; those that have something else are told why they do not.
 */
#include "support/device.h"
#include "support/proxy.h"

enum { INSIDE, CERTIFICATE, SHARED_KEY, PASSWORD, LISTENERS };

static int ports[LISTENERS];

static bool run(const char *command)
{
    const char *arguments[] = {"/bin/sh", "-c", format("cd '%s' && %s", scratchFolder(), command), NULL};
    return childRun(arguments, scratch("commands.log"), NULL) == 0;
}

/** An authority with the broker's and the device's certificates, and another one's device. */
static void makeCertificates(void)
{
    static const char *const requests[] = {"broker", "d1", "stranger"};
    static const char key[] = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    for (int index = 0; index < 2; index++) {
        const char *name = index == 0 ? "ca" : "other";
        REQUIRE(run(format("openssl req -x509 %s -days 2 -subj /CN=%s -keyout %s.key -out %s.pem", key, name, name, name)));
    }
    writeFile(scratch("broker.ext"), "subjectAltName=IP:127.0.0.1\n");
    writeFile(scratch("d1.ext"), "");
    writeFile(scratch("stranger.ext"), "");
    for (int index = 0; index < 3; index++) {
        const char *name = requests[index], *authority = index == 2 ? "other" : "ca";
        REQUIRE(run(format("openssl req %s -subj /CN=%s -keyout %s.key -out %s.csr", key, name, name, name)));
        REQUIRE(run(format("openssl x509 -req -in %s.csr -CA %s.pem -CAkey %s.key -CAcreateserial -days 2 -extfile %s.ext -out %s.pem",
                           name, authority, authority, name, name)));
    }
}

static void makeSettings(Broker *broker)
{
    ports[INSIDE] = broker->port;
    for (int index = 1; index < LISTENERS; index++) ports[index] = freePort();
    writeFile(scratch("keys"), "d1:00112233445566778899aabbccddeeff\n");
    REQUIRE(run("mosquitto_passwd -b -c passwords d1 secret"));
    // As docs/OPERATIONS.md has it.
    writeFile(scratch("rules"), "pattern write ioto/service/%u/db/+\npattern write $aws/rules/+/ioto/service/%u/db/+\n"
                                "pattern read ioto/device/%u/sync/+\npattern read ioto/account/+/sync/+\n");
    const char *folder = scratchFolder();
    writeFile(scratch("mosquitto.conf"),
              format("per_listener_settings true\nuser root\n"
                     "listener %d 127.0.0.1\nallow_anonymous true\n"
                     "listener %d 127.0.0.1\nallow_anonymous false\ncafile %s/ca.pem\ncertfile %s/broker.pem\n"
                     "keyfile %s/broker.key\nrequire_certificate true\nuse_identity_as_username true\n"
                     "listener %d 127.0.0.1\nallow_anonymous false\npsk_hint ioto\npsk_file %s/keys\n"
                     "use_identity_as_username true\n"
                     "listener %d 127.0.0.1\nallow_anonymous false\npassword_file %s/passwords\nacl_file %s/rules\n",
                     ports[INSIDE], ports[CERTIFICATE], folder, folder, folder, ports[SHARED_KEY], folder, ports[PASSWORD],
                     folder, folder));
}

static Io *openAt(int port, const char *more)
{
    return ioOpen(format("{ deviceId: 'd1', accountId: 'a1', database: { path: '%s', schema: '%s', syncDelay: '%s' },"
                         "  mqtt: { endpoint: '127.0.0.1', port: %d, %s } }",
                         scratch("tls.db"), testData("schema.json5"), SYNC_SOON, port, more));
}

static const char *certificates(const char *authority, const char *name)
{
    return format("authority: '%s', certificate: '%s', key: '%s', alpn: 'mqtt'", scratch(format("%s.pem", authority)),
                  scratch(format("%s.pem", name)), scratch(format("%s.key", name)));
}

static void replicates(int port, const char *more, const char *with)
{
    static int turn;
    const char *id = format("note%d", turn++);
    Io *io = openAt(port, more);
    REQUIRE(io != NULL);
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_CODE(dbSet(ioGetDb(io), "Note", DB_PROPS("id", id, "text", with), DB_PARAMS(.upsert = true)), 0);
    EXPECT_CODE(ioSync(io, PATIENCE_MS), 0);
    EXPECT(cloudFieldIs("Note", id, "text", with));
    ioClose(io);
    claim("a device replicates with %s", with);
}

static void isRefused(int port, const char *more, const char *reason, const char *with)
{
    Io *io = openAt(port, more);
    REQUIRE(io != NULL);
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_WITHIN(PATIENCE_MS, deviceStatus(io).lastError != 0);
    IoStatus status = deviceStatus(io);
    EXPECT(status.connections == 0);
    if (!EXPECT(strstr(status.lastErrorText, reason) != NULL)) note("the reason is: %s", status.lastErrorText);
    ioClose(io);
    claim("a device with %s is told why it can't connect", with);
}

/** Device d1's credentials in the hands of one who says to be d2. */
static void mayNotSpeakForOthers(void)
{
    Spy *spy = spyStart(ports[INSIDE]);
    Io *io = ioOpen(format("{ deviceId: 'd2', accountId: 'a1', database: { path: '%s', schema: '%s', syncDelay: '%s' },"
                           "  mqtt: { endpoint: '127.0.0.1', port: %d, username: 'd1', password: 'secret' } }",
                           scratch("other.db"), testData("schema.json5"), SYNC_SOON, ports[PASSWORD]));
    REQUIRE(io != NULL);
    EXPECT_CODE(ioStart(io), 0);
    EXPECT_CODE(create(ioGetDb(io), "Note", DB_PROPS("id", "foreign", "text", "of d1")), 0);
    EXPECT(ioSync(io, 2000) != 0);
    EXPECT_NUMBER(deviceStatus(io).pendingItems, 1);
    EXPECT_NUMBER(spyCount(spy, "service/d2/", NULL), 0);
    IoStatus status = deviceStatus(io);
    EXPECT_NUMBER(status.lastError, DB_ERR_DENIED);
    EXPECT(strstr(status.lastErrorText, "not authorized") != NULL);
    ioClose(io);
    spyStop(spy);
    claim("a device's rights are no right to another one's topics, and what it wrote waits, with the reason");
}

/** A token in software with the device's key, which is gone from the disk then. */
static void makeToken(void)
{
    setenv("SOFTHSM2_CONF", scratch("softhsm2.conf"), 1);
    setenv("PKCS11_MODULE_PATH", "/usr/lib/softhsm/libsofthsm2.so", 1);
    writeFile(scratch("softhsm2.conf"), format("directories.tokendir = %s/tokens\n", scratchFolder()));
    REQUIRE(run("mkdir tokens && softhsm2-util --init-token --free --label device --pin 1234 --so-pin 5678"));
    REQUIRE(run("openssl pkcs8 -topk8 -nocrypt -in d1.key -out d1.p8"));
    REQUIRE(run("softhsm2-util --import d1.p8 --token device --label key --id 01 --pin 1234 && rm d1.p8 d1.key"));
}

static const char *tokenKey(const char *pin)
{
    return format("authority: '%s', certificate: '%s', engine: 'pkcs11', key: 'pkcs11:token=device;object=key;pin-value=%s'",
                  scratch("ca.pem"), scratch("d1.pem"), pin);
}

static void asksForAProtocol(void)
{
    char first[2048];
    Proxy *proxy = proxyStart(ports[CERTIFICATE]);
    replicates(proxyPort(proxy), certificates("ca", "d1"), "a protocol asked for");
    size_t count = proxyFirstBytes(proxy, first, sizeof first);
    bool isAsked = false;
    for (size_t index = 0; index + 5 <= count; index++) isAsked = isAsked || memcmp(first + index, "\4mqtt", 5) == 0;
    EXPECT(isAsked);
    claim("the handshake asks for it");
    proxyStop(proxy);
}

int main(void)
{
    scenarioBegin();
    Broker broker = brokerMake();
    Cloud cloud = cloudMake(broker.port);
    makeCertificates();
    makeSettings(&broker);
    brokerStart(&broker);
    cloudStart(&cloud);

    replicates(ports[CERTIFICATE], certificates("ca", "d1"), "a certificate");
    asksForAProtocol();
    isRefused(ports[CERTIFICATE], certificates("other", "d1"), "TLS", "an authority that the broker's certificate is not of");
    isRefused(ports[CERTIFICATE], certificates("ca", "stranger"), "TLS", "a certificate of another authority");
    isRefused(ports[CERTIFICATE], format("authority: '%s'", scratch("ca.pem")), "TLS", "no certificate");

    replicates(ports[SHARED_KEY], "psk: '00112233445566778899aabbccddeeff'", "a shared key");
    isRefused(ports[SHARED_KEY], "psk: '00112233445566778899aabbccddee00'", "TLS", "another key");
    isRefused(ports[SHARED_KEY], "psk: '00112233445566778899aabbccddeeff', identity: 'd2'", "TLS", "a name that the broker does not know");

    replicates(ports[PASSWORD], "username: 'd1', password: 'secret'", "a password, and the right to its own topics");
    mayNotSpeakForOthers();
    isRefused(ports[PASSWORD], "username: 'd1', password: 'Secret'", "", "another password");

    Io *io = openAt(ports[CERTIFICATE], format("certificate: '%s', key: 'pkcs11:object=key', engine: 'no-such-engine'", scratch("d1.pem")));
    EXPECT(io == NULL || ioStart(io) == DB_ERR_CONFIG);
    EXPECT_ERROR_NAMES("engine");
    ioClose(io);
    claim("an engine that OpenSSL does not have is named");

    makeToken();
    io = openAt(ports[CERTIFICATE], tokenKey("4321"));
    REQUIRE(io != NULL);
    EXPECT_CODE(ioStart(io), DB_ERR_CONFIG);
    EXPECT_ERROR_NAMES("'key'");
    EXPECT(strstr(dbGetError(NULL), "4321") == NULL);
    ioClose(io);
    claim("another PIN than the token's is told of, and not told");
    replicates(ports[CERTIFICATE], tokenKey("1234"), "a key that a token keeps");

    cloudStop(&cloud);
    brokerStop(&broker);
    return scenarioEnd();
}
