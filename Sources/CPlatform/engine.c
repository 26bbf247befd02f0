#define _GNU_SOURCE
#include "platform_engine.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>

/* Functions of the OpenSSL that libmosquitto uses, found when they are needed: few devices have an engine, and a library
 * of other devices' should not need OpenSSL itself. Engines left OpenSSL with version 4. */
#define FUNCTIONS(each)                                                              \
    each(int, OPENSSL_init_crypto, (uint64_t options, const void *settings))         \
    each(void *, ENGINE_by_id, (const char *id))                                     \
    each(int, ENGINE_init, (void *engine))                                           \
    each(int, ENGINE_finish, (void *engine))                                         \
    each(int, ENGINE_free, (void *engine))                                           \
    each(void *, ENGINE_load_private_key, (void *engine, const char *key, void *ui, void *data)) \
    each(void *, UI_null, (void))                                                    \
    each(const void *, TLS_client_method, (void))                                    \
    each(void *, SSL_CTX_new, (const void *method))                                  \
    each(void, SSL_CTX_free, (void *context))                                        \
    each(int, SSL_CTX_use_certificate_chain_file, (void *context, const char *file)) \
    each(int, SSL_CTX_use_PrivateKey, (void *context, void *key))                    \
    each(int, SSL_CTX_check_private_key, (const void *context))                      \
    each(void, EVP_PKEY_free, (void *key))                                           \
    each(unsigned long, ERR_get_error, (void))                                       \
    each(void, ERR_clear_error, (void))                                              \
    each(void, ERR_error_string_n, (unsigned long code, char *text, size_t bytes))

#define MEMBER(type, name, arguments) type (*name) arguments;
struct functions {
    FUNCTIONS(MEMBER)
};

/* Values of OpenSSL's interface, <openssl/crypto.h>. */
enum { INIT_LOAD_CONFIG = 0x40, INIT_ENGINE_DYNAMIC = 0x400 };

static const char *load(struct functions *ssl)
{
    /* A handle of libmosquitto finds what libmosquitto is linked to; it stays loaded, as it was. */
    void *library = dlopen("libmosquitto.so.1", RTLD_NOW | RTLD_NOLOAD);
    void *scope = library != NULL ? library : RTLD_DEFAULT, *function;
    const char *missing = NULL;
    /* POSIX has the object pointer that dlsym() returns hold a function's address. */
#define FIND(type, name, arguments)                    \
    function = dlsym(scope, #name);                    \
    *(void **) &ssl->name = function;                  \
    if (function == NULL && missing == NULL) missing = #name;
    FUNCTIONS(FIND)
    if (library != NULL) dlclose(library);
    return missing;
}

static void *fail(struct functions *ssl, const char *what, char *reason, size_t bytes)
{
    char text[160] = "no reason is known";
    unsigned long code = ssl->ERR_get_error();
    if (code != 0) ssl->ERR_error_string_n(code, text, sizeof text);
    ssl->ERR_clear_error();
    snprintf(reason, bytes, "%s: %s", what, text);
    return NULL;
}

static void *load_key(struct functions *ssl, const char *engine, const char *key, char *reason, size_t bytes)
{
    ssl->OPENSSL_init_crypto(INIT_LOAD_CONFIG | INIT_ENGINE_DYNAMIC, NULL);
    ssl->ERR_clear_error();
    void *found = ssl->ENGINE_by_id(engine), *loaded = NULL;
    if (found == NULL) return fail(ssl, "'engine': OpenSSL does not have it", reason, bytes);
    if (ssl->ENGINE_init(found)) {
        /* No user interface: nobody is there to type a PIN. */
        loaded = ssl->ENGINE_load_private_key(found, key, ssl->UI_null(), NULL);
        if (loaded == NULL) fail(ssl, "'key': the engine does not give it", reason, bytes);
        ssl->ENGINE_finish(found);
    } else {
        fail(ssl, "'engine': it can't be started", reason, bytes);
    }
    ssl->ENGINE_free(found);
    return loaded;
}

void *platform_engine_context(const char *engine, const char *key, const char *certificate, char *reason, size_t bytes)
{
    struct functions ssl;
    const char *missing = load(&ssl);
    if (missing != NULL) {
        snprintf(reason, bytes, "'engine': the OpenSSL of libmosquitto does not have %s()", missing);
        return NULL;
    }
    void *loaded = load_key(&ssl, engine, key, reason, bytes);
    if (loaded == NULL) return NULL;
    void *context = ssl.SSL_CTX_new(ssl.TLS_client_method());
    if (context == NULL || ssl.SSL_CTX_use_certificate_chain_file(context, certificate) != 1
        || ssl.SSL_CTX_use_PrivateKey(context, loaded) != 1 || ssl.SSL_CTX_check_private_key(context) != 1) {
        fail(&ssl, "'certificate' or 'key'", reason, bytes);
        ssl.SSL_CTX_free(context);
        context = NULL;
    }
    ssl.EVP_PKEY_free(loaded);
    return context;
}

void platform_engine_context_free(void *context)
{
    struct functions ssl;
    if (context != NULL && load(&ssl) == NULL) ssl.SSL_CTX_free(context);
}
