/**
 * @file platform_engine.h
 * A private key that an engine of OpenSSL keeps, such as one on a PKCS#11 token.
 *
 * libmosquitto 2.0 has options for that too, but refuses a key that is no file's name (mosquitto_tls_set()); it takes a
 * context of TLS in which the key is already.
 */
#ifndef PLATFORM_ENGINE_H
#define PLATFORM_ENGINE_H

#include <stddef.h>

/**
 * Make a context for a TLS client with a certificate and its key.
 *
 * @param reason  Receives why there is none; nothing of `key`, which may hold a PIN.
 * @return An SSL_CTX for platform_engine_context_free(), or NULL.
 */
void *platform_engine_context(const char *engine, const char *key, const char *certificate, char *reason, size_t bytes);
/** Give up one reference; NULL is fine. */
void platform_engine_context_free(void *context);

#endif /* PLATFORM_ENGINE_H */
