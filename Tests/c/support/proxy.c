#include "proxy.h"
#include "check.h"
#include "process.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAIRS_MAX 32
#define CHUNK_BYTES 16384
/** Bytes that wait in one direction before no more are read. */
#define QUEUE_BYTES_MAX (1 << 20)
#define TICK_MS 2

typedef struct Chunk {
    struct Chunk *next;
    int64_t due_ms;
    size_t size, sent;
    char bytes[];
} Chunk;

/** One direction of one connection. */
typedef struct Way {
    Chunk *first, *last;
    size_t queued;
    /** Bytes that the throttle allows by now. */
    double allowance;
    bool isEnded;
} Way;

/** Sockets of the client [0] and of the broker [1]; ways[n] leads away from sockets[n]. */
typedef struct Pair {
    int sockets[2];
    Way ways[2];
    bool isBegun;
} Pair;

struct Proxy {
    pthread_t thread;
    pthread_mutex_t lock;
    int listener, port, target;
    bool isOver, isCutting, isRefusing, isSwallowing;
    int delay_ms, rate;
    int refusal;
    char first[2048];
    size_t firstSize;
    int64_t bytes[2];
    int connections;
    int64_t last_ms;
    Pair pairs[PAIRS_MAX];
    int count;
};

static void shut(Pair *pair, bool isReset)
{
    for (int side = 0; side < 2; side++) {
        struct linger linger = {.l_onoff = 1, .l_linger = 0};
        if (isReset) setsockopt(pair->sockets[side], SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
        close(pair->sockets[side]);
        while (pair->ways[side].first != NULL) {
            Chunk *chunk = pair->ways[side].first;
            pair->ways[side].first = chunk->next;
            free(chunk);
        }
    }
}

static void tune(int handle)
{
    int one = 1;
    fcntl(handle, F_SETFD, FD_CLOEXEC);
    fcntl(handle, F_SETFL, O_NONBLOCK);
    setsockopt(handle, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static void take(Proxy *proxy)
{
    int client = accept(proxy->listener, NULL, NULL);
    if (client < 0) return;
    struct sockaddr_in address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t) proxy->target);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int broker = proxy->isRefusing || proxy->count == PAIRS_MAX ? -1 : socket(AF_INET, SOCK_STREAM, 0);
    if (broker < 0 || connect(broker, (struct sockaddr *) &address, sizeof address) != 0) {
        if (broker >= 0) close(broker);
        close(client);
        return;
    }
    tune(client);
    tune(broker);
    proxy->connections++;
    proxy->pairs[proxy->count++] = (Pair){.sockets = {client, broker}};
}

/** Read what one end says. Returns false when it has hung up. */
static bool hear(Proxy *proxy, Pair *pair, int side)
{
    char bytes[CHUNK_BYTES];
    Way *way = &pair->ways[side];
    ssize_t got = recv(pair->sockets[side], bytes, sizeof bytes, 0);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got == 0) {
        way->isEnded = true;
        return way->first != NULL && !proxy->isSwallowing;
    }
    if (proxy->isSwallowing) return true;
    if (side == 0 && !pair->isBegun) {
        pair->isBegun = true;
        proxy->firstSize = (size_t) got < sizeof proxy->first ? (size_t) got : sizeof proxy->first;
        memcpy(proxy->first, bytes, proxy->firstSize);
        // A CONNECT of less than 128 bytes: type, length, "MQTT" with its length, level.
        if (proxy->refusal != 0 && got > 9 && memcmp(bytes + 4, "MQTT\5", 5) == 0) {
            if (proxy->refusal == 1 && send(pair->sockets[0], "\x20\x02\x00\x01", 4, MSG_NOSIGNAL) != 4) return false;
            return false;
        }
    }
    Chunk *chunk = malloc(sizeof *chunk + (size_t) got);
    if (chunk == NULL) abort();
    *chunk = (Chunk){.due_ms = clock_ms() + proxy->delay_ms, .size = (size_t) got};
    memcpy(chunk->bytes, bytes, (size_t) got);
    if (way->last != NULL && way->first != NULL) {
        way->last->next = chunk;
    } else {
        way->first = chunk;
    }
    way->last = chunk;
    way->queued += (size_t) got;
    return true;
}

/** Pass on what is due. Returns false when the other end has hung up. */
static bool say(Proxy *proxy, Pair *pair, int side, int64_t now_ms, int64_t passed_ms)
{
    Way *way = &pair->ways[side];
    if (proxy->rate > 0) {
        way->allowance += (double) proxy->rate * (double) passed_ms / 1000;
        if (way->allowance > proxy->rate) way->allowance = proxy->rate;
    }
    while (way->first != NULL && way->first->due_ms <= now_ms) {
        Chunk *chunk = way->first;
        size_t size = chunk->size - chunk->sent;
        if (proxy->rate > 0 && (double) size > way->allowance) size = (size_t) way->allowance;
        if (size == 0) return true;
        ssize_t put = send(pair->sockets[1 - side], chunk->bytes + chunk->sent, size, MSG_NOSIGNAL);
        if (put < 0) return errno == EAGAIN || errno == EINTR;
        chunk->sent += (size_t) put;
        way->queued -= (size_t) put;
        if (proxy->rate > 0) way->allowance -= (double) put;
        proxy->bytes[side] += put;
        if (chunk->sent < chunk->size) continue;
        way->first = chunk->next;
        free(chunk);
    }
    return !(way->isEnded && way->first == NULL);
}

static void turn(Proxy *proxy, const struct pollfd *set)
{
    int64_t now_ms = clock_ms(), passed_ms = now_ms - proxy->last_ms;
    proxy->last_ms = now_ms;
    int polled = proxy->count;
    for (int index = polled - 1; index >= 0; index--) {
        Pair *pair = &proxy->pairs[index];
        bool isUp = !proxy->isCutting;
        for (int side = 0; side < 2 && isUp; side++) {
            if (set[1 + 2 * index + side].revents != 0) isUp = hear(proxy, pair, side);
            isUp = isUp && say(proxy, pair, side, now_ms, passed_ms);
        }
        if (isUp) continue;
        shut(pair, proxy->isCutting);
        proxy->pairs[index] = proxy->pairs[--proxy->count];
    }
    proxy->isCutting = false;
    if (set[0].revents != 0) take(proxy);
}

static void *run(void *argument)
{
    Proxy *proxy = argument;
    struct pollfd set[1 + 2 * PAIRS_MAX];
    for (;;) {
        pthread_mutex_lock(&proxy->lock);
        bool isOver = proxy->isOver, isWaiting = false;
        int count = proxy->count;
        set[0] = (struct pollfd){.fd = proxy->listener, .events = POLLIN};
        for (int index = 0; index < 2 * count; index++) {
            Way *way = &proxy->pairs[index / 2].ways[index % 2];
            bool isOpen = !way->isEnded && way->queued < QUEUE_BYTES_MAX;
            isWaiting = isWaiting || way->first != NULL;
            set[1 + index] = (struct pollfd){.fd = isOpen ? proxy->pairs[index / 2].sockets[index % 2] : -1, .events = POLLIN};
        }
        pthread_mutex_unlock(&proxy->lock);
        if (isOver) return NULL;
        poll(set, (nfds_t) (1 + 2 * count), isWaiting ? TICK_MS : 20);
        pthread_mutex_lock(&proxy->lock);
        turn(proxy, set);
        pthread_mutex_unlock(&proxy->lock);
    }
}

Proxy *proxyStart(int port)
{
    Proxy *proxy = calloc(1, sizeof *proxy);
    if (proxy == NULL) abort();
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    proxy->target = port;
    proxy->listener = socket(AF_INET, SOCK_STREAM, 0);
    REQUIRE(proxy->listener >= 0);
    REQUIRE(bind(proxy->listener, (struct sockaddr *) &address, sizeof address) == 0);
    REQUIRE(listen(proxy->listener, 16) == 0);
    REQUIRE(getsockname(proxy->listener, (struct sockaddr *) &address, &size) == 0);
    fcntl(proxy->listener, F_SETFD, FD_CLOEXEC);
    proxy->port = ntohs(address.sin_port);
    proxy->last_ms = clock_ms();
    pthread_mutex_init(&proxy->lock, NULL);
    REQUIRE(pthread_create(&proxy->thread, NULL, run, proxy) == 0);
    return proxy;
}

void proxyStop(Proxy *proxy)
{
    pthread_mutex_lock(&proxy->lock);
    proxy->isOver = true;
    pthread_mutex_unlock(&proxy->lock);
    pthread_join(proxy->thread, NULL);
    for (int index = 0; index < proxy->count; index++) shut(&proxy->pairs[index], false);
    close(proxy->listener);
    pthread_mutex_destroy(&proxy->lock);
    free(proxy);
}

int proxyPort(const Proxy *proxy) { return proxy->port; }

#define LOCKED(proxy, statement)                                                                                      \
    do {                                                                                                              \
        pthread_mutex_lock(&(proxy)->lock);                                                                           \
        statement;                                                                                                    \
        pthread_mutex_unlock(&(proxy)->lock);                                                                         \
    } while (0)

void proxyCut(Proxy *proxy) { LOCKED(proxy, proxy->isCutting = true); }

void proxyRefuse(Proxy *proxy, int isRefusing) { LOCKED(proxy, proxy->isRefusing = isRefusing != 0); }

void proxySwallow(Proxy *proxy, int isSwallowing) { LOCKED(proxy, proxy->isSwallowing = isSwallowing != 0); }

void proxyDelay(Proxy *proxy, int delay_ms) { LOCKED(proxy, proxy->delay_ms = delay_ms); }

void proxyThrottle(Proxy *proxy, int bytes_per_second) { LOCKED(proxy, proxy->rate = bytes_per_second); }

void proxyRefuseVersion5(Proxy *proxy, int how) { LOCKED(proxy, proxy->refusal = how); }

size_t proxyFirstBytes(Proxy *proxy, void *out, size_t size)
{
    pthread_mutex_lock(&proxy->lock);
    size_t count = proxy->firstSize < size ? proxy->firstSize : size;
    memcpy(out, proxy->first, count);
    pthread_mutex_unlock(&proxy->lock);
    return count;
}

int64_t proxyBytesUp(Proxy *proxy)
{
    int64_t bytes;
    LOCKED(proxy, bytes = proxy->bytes[0]);
    return bytes;
}

int64_t proxyBytesDown(Proxy *proxy)
{
    int64_t bytes;
    LOCKED(proxy, bytes = proxy->bytes[1]);
    return bytes;
}

int proxyConnections(Proxy *proxy)
{
    int connections;
    LOCKED(proxy, connections = proxy->connections);
    return connections;
}
