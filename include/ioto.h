/**
 * @file ioto.h
 * ioto: a device database under a OneTable schema, replicated with the cloud.
 *
 * # What it is
 *
 * A database of JSON items kept in one SQLite file, described by a OneTable schema (JSON5), with triggers as C callbacks,
 * and an agent that keeps the items in step with a cloud database over MQTT. Link it with cmake (`find_package(ioto)`,
 * target `ioto::ioto`) or pkg-config (`pkg-config --cflags --libs ioto`).
 *
 * # Errors
 *
 * A fallible function returns an `int` (0 or a count; negative on failure, one of the `DB_ERR_*` codes) or a pointer
 * (NULL on failure). dbGetErrorCode() and dbGetError() give the code and the text of the calling thread's last failed
 * call. Codes are permanent. No input traps or aborts the process: a NULL where none is allowed is DB_ERR_MISUSE. (Memory that can't
 * be had may, see Limits.)
 *
 * # Ownership
 *
 * Items and lists returned by the library are immutable snapshots owned by the caller: free them with dbFreeItem() and
 * dbFreeList(). A `const char *` taken from an item or a list lives as long as that item or list. Strings returned as
 * `char *` are freed with dbFree(). Freeing functions accept NULL. Whatever is passed in is copied.
 *
 * # Threads
 *
 * Each function carries one word. `any`: from any thread, at any time while the handle is open. `owner`: one thread at a
 * time uses the object. A `Db` and an `Io` are `any`; items and lists are `owner`.
 *
 * Closing waits for the calls that other threads have under way on the handle. Calls that come later are DB_ERR_MISUSE, as
 * are calls on a pointer that is no handle: neither is followed. (A process has 256 places for handles. The address of a closed
 * one is given to another only when each place has been used and those that were free before it are taken; until then a closed
 * one is told.) At most 256 databases and agents are open in a process; an agent and its database are two. A thread may be within
 * calls on 8 of them, one within the other, as where a trigger of one calls another; a ninth is DB_ERR_MISUSE.
 *
 * # Limits
 *
 * An item has at most 256 KB as JSON and is at most 56 objects and arrays deep; a key, a part of a key of an index, and a
 * unique value have at most 1024 bytes. What is beyond is DB_ERR_LIMIT, and changes nothing. An item of up to 256 KB comes
 * down from the cloud; up goes what fits a message of 120 KB, with its key. A larger one is stored, and its change is then
 * among the rejected ones, with DB_ERR_LIMIT.
 *
 * Memory. SQLite, files and the network report memory that can't be had as DB_ERR_MEMORY; the rest of the library does not: where
 * malloc() returns NULL to it, the process ends, as it does by the kernel where memory is overcommitted. What a call takes is
 * bounded by the limits above, but for dbFind() without `limit` and dbRemove() with `many`, which hold every item that they find; a
 * transaction, which until its commit holds what triggers and replication will be told of; and dbLoadData(), which holds its file.
 * Set `limit` and read by pages, use dbCount() to count, and set `cacheBytes` (dbSetLimits()) where memory is short.
 *
 * # Text
 *
 * UTF-8, NUL-terminated. Times are Unix milliseconds unless the name says otherwise.
 */
#ifndef IOTO_H
#define IOTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#include <initializer_list>
extern "C" {
#endif

#if defined(__GNUC__)
#define IOTO_API __attribute__((visibility("default")))
#else
#define IOTO_API
#endif

/** A field that DB_PARAMS() leaves out is zero: C says so by itself, C++ by this. */
#if defined(__cplusplus) && __cplusplus >= 201402L
#define IOTO_UNSET {}
#else
#define IOTO_UNSET
#endif

/** Version of this header. ioVersion() gives the version of the library that is linked. */
#define IOTO_VERSION "0.1.0"
#define IOTO_VERSION_MAJOR 0
#define IOTO_VERSION_MINOR 1
#define IOTO_VERSION_PATCH 0

/** An open database. */
typedef struct Db Db;
/** A model of the schema; belongs to its database and lives as long. */
typedef struct DbModel DbModel;
/** An immutable snapshot of one item. */
typedef struct DbItem DbItem;
/** The items a query found, in order. */
typedef struct DbList DbList;
/** A replication agent with its database. */
typedef struct Io Io;
/** cJSON's object type, for DB_CJSON(); include <cjson/cJSON.h> to make one. */
struct cJSON;

/* ------------------------------------------------------------------------------------------------------------------ */
/** @name Error codes
 *  General -1.., storage -100.., schema -200.., replication -300...
 *  @{ */

enum {
    DB_OK = 0,
    /** The caller broke the contract: a NULL handle or name, a malformed argument. */
    DB_ERR_MISUSE = -1,
    /** Memory could not be had. */
    DB_ERR_MEMORY = -2,
    /** No such item. */
    DB_ERR_NOT_FOUND = -3,
    /** An item with this key, or with this value of a unique field, exists. */
    DB_ERR_EXISTS = -4,
    /** The text is not JSON (or JSON5). */
    DB_ERR_JSON = -5,
    /** The call did not finish within its timeout. */
    DB_ERR_TIMEOUT = -6,
    /** A file could not be read or written; dbGetError() names it. */
    DB_ERR_IO = -7,
    /** A limit was reached: item size, key size, nesting. */
    DB_ERR_LIMIT = -8,
    /** The configuration is not valid. */
    DB_ERR_CONFIG = -9,

    /** SQLite reported an error that has no code of its own. */
    DB_ERR_STORAGE = -100,
    /** Disk full, or the size limit of the database reached. */
    DB_ERR_FULL = -101,
    /** The database file is damaged or is not a database. */
    DB_ERR_CORRUPT = -102,
    /** Another process holds the database for too long, or has it open with another schema, so that an index is missing. */
    DB_ERR_BUSY = -103,
    /** The database is open for reading only. */
    DB_ERR_READ_ONLY = -104,
    /** The file was written by a newer, incompatible version of the library. */
    DB_ERR_FORMAT = -105,

    /** The schema is not valid. */
    DB_ERR_SCHEMA = -200,
    /** The schema has no such model. */
    DB_ERR_MODEL = -201,
    /** A property does not fit its field: type, required, enum. */
    DB_ERR_FIELD = -202,
    /** The model may not exist, or be changed, on this side. */
    DB_ERR_DENIED = -203,
    /** A key can't be computed from the properties given. */
    DB_ERR_KEY = -204,
    /** More than one item matches where one is meant. */
    DB_ERR_AMBIGUOUS = -205,

    /** The agent is not started, or the broker can't be reached. */
    DB_ERR_OFFLINE = -300,
    /** The broker or the cloud broke the protocol. */
    DB_ERR_PROTOCOL = -301,
    /** The cloud refused a change. */
    DB_ERR_REJECTED = -302,
    /** A change of the cloud took the place of this one. */
    DB_ERR_CONFLICT = -303,
    /** Another database has gone on as this device, see ioRejoin(). */
    DB_ERR_FENCED = -304
};

/**
 * The code of the calling thread's last failed call, or DB_OK when none failed.
 * Threads: any.
 * @since 0.1
 */
IOTO_API int dbGetErrorCode(void);

/**
 * The text of the calling thread's last failed call: one line that names the place. Valid until the thread's next call
 * that fails; "" when none failed.
 *
 * @param db  Ignored; kept for the documented signature. May be NULL.
 * Threads: any.
 * @since 0.1
 */
IOTO_API const char *dbGetError(Db *db);

/** A static text for an error code, for example "item not found"; never NULL. Threads: any. @since 0.1 */
IOTO_API const char *ioStrError(int code);

/** Version of the linked library, static, for example "0.1.0". Threads: any. @since 0.1 */
IOTO_API const char *ioVersion(void);

/** @} */
/* ------------------------------------------------------------------------------------------------------------------ */
/** @name Database
 *  @{ */

/** Flags of dbOpen(). */
enum {
    /** Open an existing database for reading only: every change returns DB_ERR_READ_ONLY. */
    DB_READ_ONLY = 0x1,
    /** Remove every item, pending change and cursor first. */
    DB_OPEN_RESET = 0x2,
    /** Commit with `synchronous=NORMAL`: the death of the process loses nothing, a power failure may lose the last
     *  moments, never the consistency of the file. Without it each call that returned survives a power failure. */
    DB_DURABILITY_NORMAL = 0x4,
    /** Look for damage, which reads the whole file, and recover what can be read if there is some: to be given after
     *  DB_ERR_CORRUPT. Every readable item, removal and change that waits goes into a new file; the damaged one is kept
     *  beside it, as `<path>.corrupt-1` and on, and the log tells how much was found. What was lost comes back from the
     *  cloud where the cloud has it: the new file has an id of its own, and asks for everything. No other process may have
     *  the database open. For an agent: dbOpen() and dbClose() with this flag before ioOpen(). */
    DB_RECOVER = 0x8
};

/**
 * Open a database, and create it when the file does not exist.
 *
 * @param path    File of the database. Two more files stand beside it while it is open (`-wal`, `-shm`).
 * @param schema  File of the OneTable schema, JSON5.
 * @param flags   0 or a sum of DB_READ_ONLY, DB_OPEN_RESET, DB_DURABILITY_NORMAL, DB_RECOVER. A damaged file is reported,
 *                never replaced, without DB_RECOVER.
 * @return The database, closed with dbClose(), or NULL: DB_ERR_IO if the schema can't be read; DB_ERR_SCHEMA with file and
 *         line if it is not valid; DB_ERR_CORRUPT if the file is not a database; DB_ERR_FORMAT if it is of a newer version;
 *         DB_ERR_BUSY if another process holds it for too long, or has it open when it is to be recovered; DB_ERR_FULL;
 *         DB_ERR_LIMIT if 256 handles are open; DB_ERR_READ_ONLY for DB_OPEN_RESET with DB_READ_ONLY; DB_ERR_MEMORY;
 *         DB_ERR_MISUSE for a NULL or an unknown flag.
 * Threads: any.
 * @since 0.1
 */
IOTO_API Db *dbOpen(const char *path, const char *schema, int flags);

/**
 * Close a database: refuses further calls, waits for those under way and for the triggers of what is committed, then
 * frees it. Nothing is lost: changes that have not been sent stay in the file. A transaction that was not committed is
 * rolled back. A database that belongs to an agent is closed by ioClose(), never by this call.
 *
 * From a trigger or a `where` function of the same database, on a database of an agent, and on one that is closed already,
 * it does nothing but set dbGetErrorCode() to DB_ERR_MISUSE.
 *
 * @param db  Database or NULL.
 * Threads: any.
 * @since 0.1
 */
IOTO_API void dbClose(Db *db);

/**
 * Set a context value: key templates and properties use it wherever the model has a field of that name, and it overrides
 * what the caller passes. An agent sets `deviceId` and `accountId`.
 *
 * @param name   Field name.
 * @param value  Text, or NULL to take the value away.
 * @return 0 or DB_ERR_MISUSE.
 * Threads: any.
 * @since 0.1
 */
IOTO_API int dbAddContext(Db *db, const char *name, const char *value);

/** The model of that name, owned by the database, or NULL: DB_ERR_MODEL. Threads: any. @since 0.1 */
IOTO_API const DbModel *dbGetModel(Db *db, const char *name);
/** Name of a model; lives as long as the database. "" for NULL. Threads: any. @since 0.1 */
IOTO_API const char *dbModelName(const DbModel *model);

/** @} */
/* ------------------------------------------------------------------------------------------------------------------ */
/** @name Properties and parameters
 *  @{ */

/**
 * The properties of an item, given as pairs of texts, as JSON text or as a cJSON object. Filled by DB_PROPS(), DB_JSON()
 * or DB_CJSON(), which make a temporary for the call they stand in. Texts are converted to the type of their field.
 */
typedef struct DbProps {
    /** sizeof(DbProps). */
    uint32_t size;
    /** Number of texts in `pairs`: names and values. */
    uint32_t count;
    /** Name, value, name, value, ...; a NULL value takes the property away in an update. */
    const char *const *pairs;
    /** JSON or JSON5 text of an object, or NULL. */
    const char *json;
    /** cJSON object, or NULL. */
    const struct cJSON *object;
} DbProps;

/** Decide by properties already read whether an item belongs to the result; runs on the calling thread, under a read
 *  transaction, or with dbRemove() under the writer's, for which other writers wait: it must not call the database. */
typedef bool (*DbWhere)(void *context, const DbItem *item);

/**
 * Options of a call. Zero means the default. Fill it with DB_PARAMS(.limit = 20), which sets `size`, so that firmware
 * compiled against an older header runs on a newer library.
 */
typedef struct DbParams {
    /** sizeof(DbParams). */
    uint32_t size IOTO_UNSET;
    /** dbFind: at most this many items; 0: no limit. */
    uint32_t limit IOTO_UNSET;
    /** dbFind: go on after the page that gave this token (dbNext()); NULL: from the start. */
    const char *next IOTO_UNSET;
    /** dbCreate, dbUpdate: create the item, or change it when it exists. */
    bool upsert IOTO_UNSET;
    /** dbFind: from the last key to the first. */
    bool reverse IOTO_UNSET;
    /** dbRemove: remove every item that matches; without it more than one match is DB_ERR_AMBIGUOUS. */
    bool many IOTO_UNSET;
    /** dbFind: only items for which this returns true. */
    DbWhere where IOTO_UNSET;
    /** Passed to `where`. */
    void *whereContext IOTO_UNSET;
    /**
     * dbCreate, dbGet, dbFind, dbFindOne, dbUpdate: dbItemJson() and dbItemToCJSON() give the whole item: also the
     * properties that the schema hides, the type field and the key attributes. Fields that are asked for by name are never hidden.
     */
    bool hidden IOTO_UNSET;
    /** dbFind: search in this index of the schema, in its order: "gs1"; NULL: the primary one. */
    const char *index IOTO_UNSET;
    /** dbFind: a condition as OneTable writes `where`, see dbFind(); NULL: none. */
    const char *filter IOTO_UNSET;
    /** dbFind: the values of `@{name}` in `filter`: DB_PROPS("level", "high"), DB_JSON("{levels: ['high', 'low']}"). */
    const DbProps *substitutions IOTO_UNSET;
    /** dbGet, dbFind: the items returned have just these properties: names or paths with commas between them, "id, net.ip";
     *  NULL: all. */
    const char *fields IOTO_UNSET;
    /** dbFind: only count: dbListCount() gives the number, dbListItem() nothing. See dbCount(). */
    bool count IOTO_UNSET;
    /**
     * dbCreate, dbUpdate, dbSet, dbSetField and its kin, dbRemove, dbRetryRejected: where a receipt for the change is left, which
     * ioGetReceipt() and ioWaitReceipt() take, also after a restart; 0 when the call fails, or when nothing of it goes to the
     * cloud. Of several items that one call removes, the receipt is for all. NULL: none is wanted.
     */
    int64_t *receipt IOTO_UNSET;
} DbParams;

#ifdef __cplusplus
} /* extern "C" */
/** What the macros below expand to in C++, which has no compound literals. The temporary lives to the end of the call. */
namespace ioto {
struct Props : DbProps {
    explicit Props(std::initializer_list<const char *> list)
        : DbProps{static_cast<uint32_t>(sizeof(DbProps)), static_cast<uint32_t>(list.size()), list.begin(), nullptr, nullptr}
    {
    }
    explicit Props(const char *text, int) : DbProps{static_cast<uint32_t>(sizeof(DbProps)), 0, nullptr, text, nullptr} {}
    explicit Props(const struct cJSON *value) : DbProps{static_cast<uint32_t>(sizeof(DbProps)), 0, nullptr, nullptr, value} {}
    Props(const Props &) = delete;
    Props &operator=(const Props &) = delete;
    const DbProps *get() const { return this; }
};
/** `ioto::Params().limit(20)`-free form: fill a DbParams from dbParams() where designated initializers are missing. */
inline DbParams dbParams()
{
    DbParams params = DbParams();
    params.size = static_cast<uint32_t>(sizeof(DbParams));
    return params;
}
} // namespace ioto
#define DB_PROPS(...) (::ioto::Props({__VA_ARGS__}).get())
#define DB_JSON(text) (::ioto::Props((text), 0).get())
#define DB_CJSON(value) (::ioto::Props((value)).get())
#if __cplusplus >= 202002L
namespace ioto {
struct ParamsHolder {
    DbParams params;
    const DbParams *get()
    {
        params.size = static_cast<uint32_t>(sizeof(DbParams));
        return &params;
    }
};
} // namespace ioto
#define DB_PARAMS(...) (::ioto::ParamsHolder{DbParams{__VA_ARGS__}}.get())
#endif
extern "C" {
#else
/** Properties as pairs of texts: DB_PROPS("id", "17", "severity", "critical"). */
#define DB_PROPS(...)                                                                                                 \
    (&(const DbProps){.size = sizeof(DbProps),                                                                        \
                      .count = (uint32_t) (sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *)),        \
                      .pairs = (const char *const[]){__VA_ARGS__}})
/** Properties as JSON or JSON5 text: DB_JSON("{id: 17, severity: 'critical'}"). */
#define DB_JSON(text) (&(const DbProps){.size = sizeof(DbProps), .json = (text)})
/** Properties as a cJSON object, which stays the caller's. */
#define DB_CJSON(value) (&(const DbProps){.size = sizeof(DbProps), .object = (value)})
/** Options: DB_PARAMS(.limit = 20, .reverse = true). NULL stands for no options. */
#define DB_PARAMS(...) (&(const DbParams){.size = sizeof(DbParams), __VA_ARGS__})
#endif

/** @} */
/* ------------------------------------------------------------------------------------------------------------------ */
/** @name Items
 *  @{ */

/**
 * Create an item. Templates, defaults, generated values and timestamps of the schema are filled in.
 *
 * @param db      Open database.
 * @param model   Model name from the schema.
 * @param props   Properties: DB_PROPS(...), DB_JSON(...) or DB_CJSON(object).
 * @param params  DB_PARAMS(...) or NULL. Honours: upsert, hidden, receipt.
 * @return The stored item, owned by the caller (dbFreeItem), or NULL: DB_ERR_EXISTS if the key is taken and upsert is not
 *         set, or another item has the value of a unique field; DB_ERR_MODEL; DB_ERR_FIELD if a property does not fit;
 *         DB_ERR_KEY; DB_ERR_DENIED if the schema does not enable the model on the device; DB_ERR_LIMIT; DB_ERR_FULL;
 *         DB_ERR_JSON if the properties are not; DB_ERR_READ_ONLY; DB_ERR_BUSY if another thread's transaction, or another
 *         process, is in the way for too long; DB_ERR_MISUSE.
 * Threads: any.
 * @since 0.1
 */
IOTO_API DbItem *dbCreate(Db *db, const char *model, const DbProps *props, const DbParams *params);

/**
 * Get the item that the properties name: those its key is made of.
 *
 * @param params  DB_PARAMS(...) or NULL. Honours: fields, hidden.
 * @return The item, owned by the caller (dbFreeItem), or NULL: DB_ERR_NOT_FOUND; DB_ERR_KEY if the properties do not give
 *         the whole key; DB_ERR_MODEL.
 * Threads: any.
 * @since 0.1
 */
IOTO_API DbItem *dbGet(Db *db, const char *model, const DbProps *props, const DbParams *params);

/**
 * Find the items of a model that match. Properties that make up the key of the index select by key, as far as they reach;
 * every other property must be equal. A property given as an object in DB_JSON or DB_CJSON is an operator and its operand:
 * `=`, `<`, `<=`, `>`, `>=`, `<>`, `begins`, or `between` with an array of two. A name may be a path: "network.dns.0".
 *
 * What is read. With the hash key, the items of that hash whose sort key begins with what the properties give of it.
 * `=`, `<`, `<=`, `>`, `>=`, `begins` and `between` on the sort attribute of the index, or on the property that makes up the
 * rest of its text, narrow that range further. Without the hash key, the whole index. All other conditions are asked of
 * each item read. Keys order byte by byte.
 *
 * `filter` is a condition as OneTable writes `where`:
 *
 *     DB_PARAMS(.filter = "${severity} = {critical} and (${count} > {5} or not ${seen} = {true})")
 *
 * - `${name}` is a property or a path; `{value}` a number, `true`, `false`, `null`, or else a text, in double quotes if
 *   it looks like something else: `{"42"}`; `@{name}` a value of `substitutions`. A value is converted to the type of the
 *   property that it is compared with.
 * - `=`, `<>`, `<`, `<=`, `>`, `>=`, `${x} between {1} and {5}`, `${x} in ({a}, {b}, @{...list})`, `and`, `or`, `not`,
 *   parentheses. Words are not case-sensitive; `and` binds closer than `or`.
 * - `begins_with(${x}, {a})`, `contains(${x}, {a})` (part of a text, element of an array), `not_contains`,
 *   `attribute_exists(${x})`, `attribute_not_exists(${x})`, `attribute_type(${x}, {S})`, `size(${x}) > {3}`.
 * - A property that is missing is as null: it equals `{null}`, differs from all else, and is in no order.
 *
 * A filter has at most 8 KB, 256 conditions, and 31 levels of parentheses and `not`.
 *
 * Pages. An item that stays where it is while pages are read is in exactly one of them, whatever else comes and goes. One
 * that an update moves to another place of the index may be met again there, or not at all.
 *
 * @param props   Properties to match, or NULL for every item.
 * @param params  DB_PARAMS(...) or NULL. Honours: limit, next, reverse, index, filter, substitutions, where, fields, count,
 *                hidden.
 * @return The list, in the order of the index, owned by the caller (dbFreeList), perhaps empty; or NULL on failure:
 *         DB_ERR_MODEL; DB_ERR_MISUSE if the schema has no such index, the token is of another one, or the filter is not
 *         valid, with the position; DB_ERR_KEY if the model has no attributes of the index; DB_ERR_FIELD if a value does
 *         not fit its field; DB_ERR_LIMIT; DB_ERR_BUSY if the file has not this schema's indexes, since another process
 *         has it open with another schema.
 * Threads: any.
 * @since 0.1
 */
IOTO_API DbList *dbFind(Db *db, const char *model, const DbProps *props, const DbParams *params);

/** The number of items that dbFind() would find, at most `limit` if that is set; or a negative code, as dbFind().
 *  Threads: any. @since 0.1 */
IOTO_API int64_t dbCount(Db *db, const char *model, const DbProps *props, const DbParams *params);

/** The first item that dbFind() would find, or NULL: DB_ERR_NOT_FOUND. Threads: any. @since 0.1 */
IOTO_API DbItem *dbFindOne(Db *db, const char *model, const DbProps *props, const DbParams *params);

/**
 * Change the properties given of the item that they name; other properties stay. A NULL value (DB_PROPS, or null in JSON)
 * takes a property away. A name may be a path: "network.dns.0". An object for a property with a nested schema is laid over
 * the stored one, member by member, unless the schema says `partial: false`; any other value takes the stored one's place.
 *
 * @param params  DB_PARAMS(...) or NULL. Honours: upsert, hidden, receipt.
 * @return The item as stored, owned by the caller (dbFreeItem), or NULL: DB_ERR_NOT_FOUND if there is none and upsert is
 *         not set, and as dbCreate().
 * Threads: any.
 * @since 0.1
 */
IOTO_API DbItem *dbUpdate(Db *db, const char *model, const DbProps *props, const DbParams *params);

/** The same as dbUpdate() with upsert, returning 0 or a negative code instead of the item. Threads: any. @since 0.1 */
IOTO_API int dbSet(Db *db, const char *model, const DbProps *props, const DbParams *params);

/**
 * Remove the item that the properties name, or, with `many`, every item that dbFind() would find.
 *
 * @param params  DB_PARAMS(...) or NULL. Honours: many, limit, index, filter, substitutions, where, receipt.
 * @return The number removed (0 when there was none), or a negative code: DB_ERR_AMBIGUOUS, DB_ERR_MODEL, ...
 * Threads: any.
 * @since 0.1
 */
IOTO_API int dbRemove(Db *db, const char *model, const DbProps *props, const DbParams *params);

/**
 * Remove the items that have expired, now. A field with `ttl` says when: from then on no call shows the item, and a thread of
 * the library removes it soon after, so that this call is only needed to have it done at a certain time. Nothing expires
 * while the clock stands before 2020, not being set. An item whose change the cloud has not acknowledged yet stays, unseen,
 * until it has.
 *
 * @param notify  Run the triggers of DB_ON_EXPIRED.
 * @return The number removed, or DB_ERR_MISUSE, DB_ERR_READ_ONLY, and the other errors of the storage.
 * Threads: any.
 * @since 0.1
 */
IOTO_API int dbRemoveExpired(Db *db, bool notify);

/** Set one field of the item that `props` names, which is created when missing and `params` has upsert. `value` NULL takes
 *  the field away. Returns 0 or a negative code, as dbUpdate(). Threads: any. @since 0.1 */
IOTO_API int dbSetField(Db *db, const char *model, const char *field, const char *value, const DbProps *props,
                        const DbParams *params);
/** dbSetField() with a boolean. Threads: any. @since 0.1 */
IOTO_API int dbSetBool(Db *db, const char *model, const char *field, bool value, const DbProps *props,
                       const DbParams *params);
/** dbSetField() with a whole number. Threads: any. @since 0.1 */
IOTO_API int dbSetNum(Db *db, const char *model, const char *field, int64_t value, const DbProps *props,
                      const DbParams *params);
/** dbSetField() with a number; NaN and infinity are DB_ERR_FIELD. Threads: any. @since 0.1 */
IOTO_API int dbSetDouble(Db *db, const char *model, const char *field, double value, const DbProps *props,
                         const DbParams *params);
/** dbSetField() with a time in Unix milliseconds; for a `ttl` field one below 100,000,000,000 is taken for seconds. Threads: any.
 *  @since 0.1 */
IOTO_API int dbSetDate(Db *db, const char *model, const char *field, int64_t time_ms, const DbProps *props,
                       const DbParams *params);
/** The same as dbSetField(). Threads: any. @since 0.1 */
IOTO_API int dbSetString(Db *db, const char *model, const char *field, const char *value, const DbProps *props,
                         const DbParams *params);

/** One field of the item that `props` names, as text owned by the caller (dbFree), or NULL: DB_ERR_NOT_FOUND when there is
 *  no such item or field. `params` has no say, and is kept for the documented signature. Threads: any. @since 0.1 */
IOTO_API char *dbGetField(Db *db, const char *model, const char *field, const DbProps *props, const DbParams *params);
/** dbGetField() as a string, or a copy of `defaultValue` (NULL allowed) when there is none; freed with dbFree().
 *  Threads: any. @since 0.1 */
IOTO_API char *dbGetString(Db *db, const char *model, const char *field, const DbProps *props, const char *defaultValue);
/** dbGetField() as a boolean, or `defaultValue` when there is none. Threads: any. @since 0.1 */
IOTO_API bool dbGetBool(Db *db, const char *model, const char *field, const DbProps *props, bool defaultValue);
/** dbGetField() as a whole number, or `defaultValue` when there is none or it is none. Threads: any. @since 0.1 */
IOTO_API int64_t dbGetNum(Db *db, const char *model, const char *field, const DbProps *props, int64_t defaultValue);
/** dbGetField() as a number, or `defaultValue` when there is none or it is none. Threads: any. @since 0.1 */
IOTO_API double dbGetDouble(Db *db, const char *model, const char *field, const DbProps *props, double defaultValue);
/** dbGetField() as a time in Unix milliseconds, or `defaultValue` when there is none or it is none. Threads: any.
 *  @since 0.1 */
IOTO_API int64_t dbGetDate(Db *db, const char *model, const char *field, const DbProps *props, int64_t defaultValue);

/**
 * A field of an item as text: strings as they are, every other type as its JSON text.
 *
 * @param field  Field name, or a path: "network.dns.0".
 * @return Text that lives as long as the item, or NULL when the item has no such field or it is null.
 * Threads: owner.
 * @since 0.1
 */
IOTO_API const char *dbField(const DbItem *item, const char *field);
/** A field as a boolean: true, "true", "1" and numbers other than 0 are true; false, "false", "0" and 0 are not. `defaultValue` when
 *  there is no item or no such field, or it is something else. Threads: owner. @since 0.1 */
IOTO_API bool dbFieldBool(const DbItem *item, const char *field, bool defaultValue);
/** A field as a whole number, exact to 64 bits; a fraction is cut off; a text may be one, and true is 1. `defaultValue` when there is
 *  no item or no such field, or it is no number that fits. Threads: owner. @since 0.1 */
IOTO_API int64_t dbFieldNumber(const DbItem *item, const char *field, int64_t defaultValue);
/** A field as a number; a text may be one. `defaultValue` when there is no item or no such field, or it is none. Threads: owner.
 *  @since 0.1 */
IOTO_API double dbFieldDouble(const DbItem *item, const char *field, double defaultValue);
/** A date field as Unix milliseconds. `defaultValue` when there is no item or no such field, or it is no date. Threads: owner.
 *  @since 0.1 */
IOTO_API int64_t dbFieldDate(const DbItem *item, const char *field, int64_t defaultValue);
/** The item as JSON text: without hidden properties unless it was asked for with `hidden`, and with `fields` alone where those were
 *  asked for; lives as long as the item. "{}" for NULL. Threads: owner.
 *  @since 0.1 */
IOTO_API const char *dbItemJson(const DbItem *item);
/** dbItemJson() as a new cJSON object, freed with cJSON_Delete(), or NULL. cJSON keeps numbers as doubles: whole numbers
 *  beyond 2^53 lose digits; dbFieldNumber() does not. Threads: owner. @since 0.1 */
IOTO_API struct cJSON *dbItemToCJSON(const DbItem *item);
/** Name of the item's model; lives as long as the item. "" for NULL. Threads: owner. @since 0.1 */
IOTO_API const char *dbItemModel(const DbItem *item);
/** Free an item; NULL allowed. Threads: owner. @since 0.1 */
IOTO_API void dbFreeItem(DbItem *item);

/** Number of items of a list, or that dbFind() with `count` has counted; 0 for NULL. Threads: owner. @since 0.1 */
IOTO_API size_t dbListCount(const DbList *list);
/** The item at `index`, counted from 0; it belongs to the list and lives as long. NULL beyond the end. Threads: owner.
 *  @since 0.1 */
IOTO_API const DbItem *dbListItem(const DbList *list, size_t index);
/** The token of the next page, for DB_PARAMS(.next = ...), or NULL when this page is the last. It lives as long as the
 *  list and stays valid when the item it stands on is removed. Threads: owner. @since 0.1 */
IOTO_API const char *dbNext(Db *db, const DbList *list);
/** Free a list with its items; NULL allowed. Threads: owner. @since 0.1 */
IOTO_API void dbFreeList(DbList *list);
/** Free text returned as `char *`; NULL allowed. Threads: any. @since 0.1 */
IOTO_API void dbFree(void *text);

/** `for (DB_ITERATE(list, item, index)) { ... }` with `const DbItem *item; size_t index;`. */
#define DB_ITERATE(list, item, index)                                                                                 \
    (index) = 0;                                                                                                      \
    ((item) = dbListItem((list), (index))) != NULL;                                                                   \
    (index)++

/** @} */
/* ------------------------------------------------------------------------------------------------------------------ */
/** @name Transactions
 *  @{ */

/**
 * Begin a transaction: what the calling thread changes from now on is kept together, until dbCommit() makes all of it
 * durable or dbRollback() takes all of it back. Items, the queue for the cloud and triggers follow: nothing is sent, and no
 * trigger runs, before the commit.
 *
 * The transaction belongs to the calling thread, whose reads see its changes. Reads of other threads go on and see the
 * database as it was; their changes wait, for at most ten seconds, and then fail with DB_ERR_BUSY: keep transactions short,
 * and let none wait for another thread or the network. A call that fails leaves the transaction as it was before that
 * call, unless it failed half-way, for lack of space for one: then dbCommit() returns its error and nothing is kept.
 *
 * A thread ends what it has begun. One that does not keeps the others from writing until dbClose(), which rolls back.
 * Inside a trigger the same holds, within the trigger.
 *
 * @return 0; DB_ERR_MISUSE if a transaction of this thread is under way on `db`; DB_ERR_BUSY if another thread's, or
 *         another process, is in the way for too long; DB_ERR_READ_ONLY.
 * Threads: any.
 * @since 0.1
 */
IOTO_API int dbBegin(Db *db);
/**
 * Commit: when it returns 0, all changes since dbBegin() are as durable as those of a single call, and their triggers run
 * in the order of the calls. The transaction is over in any case; when it fails, nothing of it is kept.
 *
 * @return 0; DB_ERR_MISUSE if no transaction of this thread is under way; DB_ERR_FULL, DB_ERR_IO and the other errors of the
 *         storage; the error of a call that failed half-way.
 * Threads: the one of dbBegin().
 * @since 0.1
 */
IOTO_API int dbCommit(Db *db);
/** Take back every change since dbBegin(). Returns 0, or DB_ERR_MISUSE if no transaction of this thread is under way.
 *  Threads: the one of dbBegin(). @since 0.1 */
IOTO_API int dbRollback(Db *db);

/** @} */
/* ------------------------------------------------------------------------------------------------------------------ */
/** @name Space
 *  @{ */

/** What a database may take. 0 in any field: no limit of its own. */
typedef struct DbLimits {
    /** sizeof(DbLimits), set by the caller. */
    uint32_t size;
    /** Bytes of the database file, in steps of 4096. The log beside it (`-wal`) has about 4 MB, or a quarter of this if that
     *  is less; more while a large transaction or a long read is under way. */
    int64_t fileBytes;
    /** Changes that wait to be sent to the cloud, and the bytes of their items. */
    int64_t outboxItems, outboxBytes;
    /** Memory for items that were read last, a quarter of it and 5 MB at most, and for pages of the file, of all connections of this handle
     *  together; at least 160 KB are used. Without a limit it is 5 MB, and 3 MB for each thread that reads at the same time as
     *  others, up to four, and for writing. */
    int64_t cacheBytes;
    /** Memory for the items of models that the schema keeps in memory (`mem`), in steps of 4096; without items it is about 80 KB. */
    int64_t memoryBytes;
} DbLimits;

/**
 * Set limits, for this handle and from the next change on. A change that would exceed one fails with DB_ERR_FULL and changes
 * nothing, unless the schema says `onFull: 'dropOldest'` for its model: then older changes of the same model leave the queue
 * for it (their items stay, but are not sent). Either fires DB_ON_FULL and is counted (dbGetStats()).
 *
 * When the schema marks models `reserve`, an eighth of each limit is kept for them and for removals. Changes of the cloud
 * are not refused by the outbox limits. What is in excess already stays.
 *
 * @param limits  The limits, copied; NULL: none.
 * @return 0 or DB_ERR_MISUSE, also within a transaction of the calling thread.
 * Threads: any.
 * @since 0.1
 */
IOTO_API int dbSetLimits(Db *db, const DbLimits *limits);

/** What dbGetStats() tells. Fields are appended at the end in later versions. */
typedef struct DbStats {
    /** sizeof(DbStats), set by the caller. */
    uint32_t size;
    /** Items stored, and removed items that are remembered for the cloud. */
    int64_t items, tombstones;
    /** Changes that wait to be sent, and the bytes of their items. */
    int64_t outboxItems, outboxBytes;
    /** Changes that the cloud refused. */
    int64_t rejectedItems;
    /** Size of the database file and of the log beside it, and how much of the file is free for new items. */
    int64_t fileBytes, logBytes, freeBytes;
    /** Since the database was opened, by this handle: bytes written to the two files, calls of fsync, transactions. */
    int64_t bytesWritten, fsyncs, commits;
    /** Changes refused at a limit, and changes that left the queue for a later one. */
    int64_t refused, dropped;
    /** Pages of the file that reads had to fetch; items and pages that they found in memory, and the memory for both: pages
     *  of the connections that no other thread uses at this moment. */
    int64_t cacheMisses, cacheHits, cacheBytes;
    /** Memory for the items of models that the schema keeps in memory (`mem`), which `items` counts as well. */
    int64_t memoryBytes;
} DbStats;

/**
 * Fill `out`, whose `size` the caller has set to sizeof(DbStats). It counts items by walking the database: some
 * milliseconds for ten thousand, not for every second of a loop.
 *
 * @return 0, DB_ERR_MISUSE, or an error of the storage.
 * Threads: any.
 * @since 0.1
 */
IOTO_API int dbGetStats(Db *db, DbStats *out);

/**
 * Write a backup of the database to a file, as it is committed now, while others read and write. A file that is there is
 * replaced, in one step, when the backup is complete and on the disk; a crash meanwhile leaves it as it was (and perhaps a
 * `<path>.part`, which the next one removes).
 *
 * The backup is a database as any other: dbOpen() and ioOpen() take it. Opened for writing, it gets an id of its own, so
 * that it may be put in the place of a later state of the same device, or on another one: what the original has done since
 * comes back from the cloud, and changes that waited when the backup was made are sent from it as well; the cloud tells
 * them from later ones. On another device its items are still those of the first, as their keys say.
 *
 * @param path  File of the backup, not the database's own.
 * @return 0; DB_ERR_MISUSE, also within a transaction of this thread; DB_ERR_EXISTS if a database is open at `path` or was
 *         not closed (its `-wal` is there); DB_ERR_FULL; DB_ERR_IO.
 * Threads: any.
 * @since 0.1
 */
IOTO_API int dbSave(Db *db, const char *path);

/**
 * Put the items of a file into the database, in one transaction: all of them or none.
 *
 *     { Setting: [{ id: 'mode', value: 'auto' }, { id: 'unit', value: 'C' }], Site: { id: '1', name: 'Pump house' } }
 *
 * Each item is created, or changed as by dbUpdate() when there is one of its key, with the triggers and the place in the outbox
 * that this has. Items whose key is generated are new at every load.
 *
 * @param path  JSON5, up to 16 MB: for each model's name an array of items, or one.
 * @return 0; DB_ERR_IO if the file can't be read; else what dbCreate() or dbUpdate() give, with file and line. Within a
 *         transaction of the calling thread the items before the wrong one are part of that.
 * Threads: any.
 * @since 0.1
 */
IOTO_API int dbLoadData(Db *db, const char *path);

/** Print all items to stdout, a line each: the model's name and the item as dbItemJson() gives it. Threads: any. @since 0.1 */
IOTO_API void dbPrint(Db *db);
/** Print one item so; NULL prints nothing. Threads: owner. @since 0.1 */
IOTO_API void dbPrintItem(const DbItem *item);
/** Print the items of a list so; NULL prints nothing. Threads: owner. @since 0.1 */
IOTO_API void dbPrintList(const DbList *list);

/** @} */
/* ------------------------------------------------------------------------------------------------------------------ */
/** @name Triggers
 *  @{ */

/** Events of dbAddTrigger(). */
enum {
    /** An item changed, by this process or by the cloud, and the change is committed. */
    DB_ON_CHANGE = 0x1,
    /** The same as DB_ON_CHANGE: triggers run after the commit. Kept for the documented name. */
    DB_ON_COMMIT = 0x2,
    /** An item changed because the cloud said so. */
    DB_ON_REMOTE = 0x4,
    /** The cloud refused a change made here; it is out of the queue, and dbTriggerReason() says why. */
    DB_ON_REJECTED = 0x8,
    /** A change made here that the cloud did not have yet met a change of the cloud to the same item. The model's `resolve`
     *  has decided: `item` is the version that has won, dbTriggerLoser() the one that has lost, dbTriggerOrigin() who wrote
     *  the winner; `cmd` is "remove" when the winner is a removal. Where the cloud's has won, DB_ON_CHANGE follows. */
    DB_ON_CONFLICT = 0x10,
    /** An item's time was over and it is removed: DB_ON_CHANGE, too, with "remove". */
    DB_ON_EXPIRED = 0x20,
    /** A limit of dbSetLimits() or of the schema was met, or the disk is full; dbTriggerReason() says which, and begins with
     *  "refused: " (the call failed; `item` is what it would have stored) or "dropped: " (`item` is stored here, but its
     *  change left the queue for a later one, and is not sent). */
    DB_ON_FULL = 0x40
};

/** Who made a change. */
typedef enum DbOrigin {
    /** A call in this process. */
    DB_ORIGIN_LOCAL = 0,
    /** The cloud, by replication. */
    DB_ORIGIN_REMOTE = 1
} DbOrigin;

/**
 * Called after a change is committed, on the library's dispatcher thread, or in dbDispatch() once dbGetFd() has been
 * called; in commit order, with no lock held: it may call any function but dbClose(), ioStop() and ioClose(), which
 * do nothing then but set dbGetErrorCode() to DB_ERR_MISUSE. While it runs, later triggers wait.
 *
 * @param arg     As given to dbAddTrigger().
 * @param db      The database.
 * @param model   Model of the item.
 * @param item    The item as committed, or as it was when `cmd` is "remove". Valid during the call.
 * @param params  NULL; kept for the documented signature.
 * @param cmd     "create", "update" or "remove".
 * @param events  The event that occurred: DB_ON_CHANGE with DB_ON_REMOTE where the cloud made it, or with DB_ON_EXPIRED
 *                where the time did; DB_ON_REJECTED; DB_ON_CONFLICT; or DB_ON_FULL.
 */
typedef void (*DbTriggerProc)(void *arg, Db *db, const DbModel *model, const DbItem *item, const DbParams *params,
                              const char *cmd, int events);

/**
 * Add a trigger. It is told of what is written from then on; of what a transaction under way has written before, it may be or not.
 *
 * @param proc    Called for each event.
 * @param model   Model name, or NULL for every model.
 * @param arg     Passed to `proc`.
 * @param events  Sum of DB_ON_*.
 * @return 0, or DB_ERR_MODEL, DB_ERR_MISUSE.
 * Threads: any, also from a trigger.
 * @since 0.1
 */
IOTO_API int dbAddTrigger(Db *db, DbTriggerProc proc, const char *model, void *arg, int events);
/** The later name of dbAddTrigger(). Threads: any. @since 0.1 */
IOTO_API int dbAddCallback(Db *db, DbTriggerProc proc, const char *model, void *arg, int events);
/**
 * Remove every trigger that was added with these three values. After it returns `proc` is not running for them and won't
 * be called again; from within the trigger itself it returns at once.
 *
 * @return The number removed, or DB_ERR_MISUSE.
 * Threads: any, also from a trigger.
 * @since 0.1
 */
IOTO_API int dbRemoveTrigger(Db *db, DbTriggerProc proc, const char *model, void *arg);
/** Inside a trigger: the item before the change, valid during the call; NULL when it was created. Threads: owner.
 *  @since 0.1 */
IOTO_API const DbItem *dbTriggerBefore(const DbItem *item);
/** Inside a trigger: who made the change. Threads: owner. @since 0.1 */
IOTO_API DbOrigin dbTriggerOrigin(const DbItem *item);
/** Inside a DB_ON_REJECTED or DB_ON_FULL trigger: the reason, valid during the call; else "". Threads: owner. @since 0.1 */
IOTO_API const char *dbTriggerReason(const DbItem *item);
/** Inside a DB_ON_CONFLICT trigger: the version that has lost, valid during the call; of a removal it has the properties
 *  that the key is made of. Else NULL. Threads: owner. @since 0.1 */
IOTO_API const DbItem *dbTriggerLoser(const DbItem *item);

/** A conflict, while a DbResolveProc is asked about it. */
typedef struct DbConflict DbConflict;

/**
 * Decides a conflict of a model with `resolve: 'callback'`: an item was changed here and in the cloud, each without knowledge
 * of the other. Call dbResolve() with what the item shall be; otherwise the later version wins. Called on the thread of
 * replication, which waits for it, with no lock held; it may call the database, but neither dbClose(), ioStop() and ioClose(), which
 * are DB_ERR_MISUSE, nor what waits for the cloud. If the item changes meanwhile it is called once more.
 *
 * @param mine    The item as it is here; NULL when it was removed here. Valid during the call, as `theirs` is.
 * @param theirs  The item as it is in the cloud; NULL when it was removed there.
 */
typedef void (*DbResolveProc)(void *arg, Db *db, const DbModel *model, const DbItem *mine, const DbItem *theirs, DbConflict *conflict);
/** Set who decides, for all models of the database; NULL: nobody, and the later version wins. A call that has begun ends
 *  with the former `arg`, which has to stay until ioStop() or dbClose(). Returns 0, or DB_ERR_READ_ONLY, DB_ERR_MISUSE. Threads: any;
 *  best before ioStart(). @since 0.1 */
IOTO_API int dbSetResolver(Db *db, DbResolveProc proc, void *arg);
/**
 * Decide: the item becomes the cloud's version with these properties changed; where the cloud has removed it, the device's.
 * The result is sent to the cloud. DB_JSON(dbItemJson(mine)) has the device's properties win.
 *
 * @return 0, or as dbUpdate(): DB_ERR_SCHEMA, ...; then the decision is as if it had not been called.
 * Threads: the callback's.
 * @since 0.1
 */
IOTO_API int dbResolve(DbConflict *conflict, const DbProps *props);

/**
 * Have triggers run on the firmware's own event loop instead of the library's thread. From this call on they wait until
 * dbDispatch() is called; a trigger that is running ends first.
 *
 *     int fd = dbGetFd(db);
 *     struct pollfd set = {.fd = fd, .events = POLLIN};
 *     while (poll(&set, 1, -1) >= 0) dbDispatch(db, 10);
 *
 * When 4096 changes wait for their triggers, calls that change the database wait for the loop, as they do for the dispatcher thread; on the
 * loop's own thread (that of the last dbGetFd() or dbDispatch()) they run waiting triggers themselves before they return.
 *
 * @return A descriptor that is readable (POLLIN, level-triggered) while a trigger waits. It belongs to the library, which
 *         closes it with the database: watch it, and neither read nor close it. Or DB_ERR_MISUSE from a trigger on the
 *         library's thread; DB_ERR_MEMORY if no descriptor is left.
 * Threads: any; best the loop's.
 * @since 0.1
 */
IOTO_API int dbGetFd(Db *db);
/**
 * Run waiting triggers on the calling thread, in commit order.
 *
 * @param max_ms  Stop after the first change whose triggers end later than this; 0: after one change; negative: when no
 *                trigger waits.
 * @return The number of triggers called, 0 when none waits or triggers are running already; DB_ERR_MISUSE before dbGetFd().
 * Threads: any; one at a time runs triggers.
 * @since 0.1
 */
IOTO_API int dbDispatch(Db *db, int max_ms);

/** @} */
/* ------------------------------------------------------------------------------------------------------------------ */
/** @name Rejected changes
 *  What the cloud refuses leaves the queue, so that it keeps nothing else waiting, and is kept: the last 1000, which
 *  dbEachRejected() lists.
 *  @{ */

/**
 * Send a rejected change again: the item as it is now, or its removal. It leaves the list.
 *
 * @param id      Its number, as dbEachRejected() tells it.
 * @param props   Properties to change first, or NULL for none.
 * @param params  DB_PARAMS(...) or NULL. Honours: receipt.
 * @return 0; DB_ERR_NOT_FOUND when there is no such change, or its item is gone; DB_ERR_EXISTS when a removal was refused and
 *         the item has been made again; or as dbUpdate().
 * Threads: any.
 * @since 0.1
 */
IOTO_API int dbRetryRejected(Db *db, int64_t id, const DbProps *props, const DbParams *params);
/** Forget a rejected change; the item stays as it is here. Returns 0, DB_ERR_NOT_FOUND, or a code of the storage. Threads: any.
 *  @since 0.1 */
IOTO_API int dbDiscardRejected(Db *db, int64_t id);

/** @} */
/* ------------------------------------------------------------------------------------------------------------------ */
/** @name Replication agent
 *  @{ */

/** Levels of the log callback, as syslog orders them. */
typedef enum IoLogLevel { IO_LOG_ERROR = 3, IO_LOG_WARNING = 4, IO_LOG_INFO = 6, IO_LOG_DEBUG = 7 } IoLogLevel;

/**
 * Receives the library's log, one line a call without a newline. It may be called on any thread, also inside a call into
 * the library: it must not call the library.
 */
typedef void (*IoLogProc)(void *context, IoLogLevel level, const char *message);

/** Set the process-wide log callback and the highest level that is passed; NULL: warnings and errors go to stderr, which
 *  is the default. IO_LOG_INFO tells, for one, how far dbOpen() has come with indexes that it makes anew. Threads: any,
 *  best before everything else. @since 0.1 */
IOTO_API void ioSetLog(IoLogProc proc, void *context, IoLogLevel level);

/**
 * Make an agent from a JSON5 configuration and open its database. Nothing is sent before ioStart().
 *
 *     {
 *         deviceId: 'd1', accountId: 'a1',
 *         database: { path: 'state.db', schema: 'schema.json5', syncDelay: '5s', syncLimit: '10K', durability: 'full' },
 *         mqtt: { endpoint: 'broker.example.com', port: 8883, authority: 'ca.pem', certificate: 'd1.pem', key: 'd1.key',
 *                 username: null, password: null, keepalive: '60s', prefix: '' },
 *     }
 *
 * For metered links `database` also takes `dailyBytes: '1M'` and `window: '01:00-05:30'`: so much is sent in a day (UTC) at most,
 * and only then. Models whose `priority` in the schema is above 0 are counted and go out in spite of both. What the schema says
 * of `dailyBytes` and `window` of single models holds as well; models of higher `priority` go first. What is held back waits, and
 * ioSync() ends with DB_ERR_TIMEOUT then.
 * Of `mqtt` there are as well: `version`, 'auto' (MQTT 5, and 3.1.1 with a broker that does not speak it), '5' or '3.1.1'; `alpn`, a
 * protocol to ask for in the TLS handshake; `psk` and `identity`, a key in hexadecimal digits that is shared with the broker in place
 * of certificates, and its name there, which is `deviceId` unless given; `packetSize`, the largest packet that the broker takes, 2K to 1M,
 * for a broker that does not tell (MQTT 5) that it takes less than 128K, or takes more; `engine`, an engine of OpenSSL, 'pkcs11' for one, that keeps
 * the key which `key` then names as the engine does: 'pkcs11:token=device;object=key'. The session is persistent, and ends a week after
 * the last connection; its last will tells the cloud that the device is gone.
 *
 * Durations are whole numbers of seconds or texts with `ms`, `s`, `m`, `h`, `d` (also `sec`, `secs`, `min`, `mins`, `hr`, `hrs`);
 * sizes are numbers of bytes or texts with `K`, `M`, `G`. Relative paths are relative to the file, or to the working directory
 * when the configuration is text. `syncDelay` is 5 s and `syncLimit` 10K unless given.
 * `compress: 'zlib'` has messages compressed, if the cloud and this library are built with it. `database` also takes the limits of
 * dbSetLimits(): `sizeMax`, `outboxItemsMax`, `outboxSizeMax`, `cacheSize` and `memorySize`.
 *
 * @param config  File name; or the text itself, when its first character other than white space is `{`.
 * @return The agent, closed with ioClose(), or NULL: DB_ERR_CONFIG with file and line, or as dbOpen().
 * Threads: any.
 * @since 0.1
 */
IOTO_API Io *ioOpen(const char *config);
/** The agent's database, owned by the agent. NULL for NULL. Threads: any. @since 0.1 */
IOTO_API Db *ioGetDb(Io *io);
/**
 * Start replication: the agent's own thread connects, reconnects for as long as it runs, sends and receives. It waits for up to a
 * second before it connects again, twice as long after each further try, two minutes at most; each wait is drawn from the upper half of
 * its span. After a connection that has lasted for ten seconds the waits begin anew.
 *
 * An ioStop() that is under way on another thread is waited for, but not in a callback of the agent or of its database.
 *
 * @return 0, also when it is started already. An unreachable broker is no failure: see ioGetStatus(). DB_ERR_MISUSE; DB_ERR_CONFIG
 *         when a setting of `mqtt` is not valid; DB_ERR_MEMORY when the system has no thread or descriptor left; DB_ERR_OFFLINE in a
 *         callback while another thread stops the agent.
 * Threads: any.
 * @since 0.1
 */
IOTO_API int ioStart(Io *io);
/**
 * Stop replication. Changes not yet acknowledged stay in the database and are sent after the next start; to send them
 * first, call ioSync(). It returns when the agent's thread has ended: that takes a second at most, in which the broker is told
 * goodbye, and longer only while the thread resolves the name of `endpoint`, for as long as the system's resolver tries, waits for a
 * transaction that is under way, or is in a callback of the firmware's. In a callback of the agent or of its database it does
 * nothing but set dbGetErrorCode() to DB_ERR_MISUSE.
 * Threads: any.
 * @since 0.1
 */
IOTO_API void ioStop(Io *io);
/** Stop, for as long as ioStop() takes, close the database as dbClose() does, and free the agent; NULL allowed. Calls that wait for
 *  the cloud end with DB_ERR_OFFLINE. In a callback of the agent or of its database it does nothing but set dbGetErrorCode() to
 *  DB_ERR_MISUSE. Threads: any. @since 0.1 */
IOTO_API void ioClose(Io *io);

/**
 * Send every pending change now and fetch every change of the cloud: ioSyncUp() and ioSyncDown() together.
 *
 * @param timeout_ms  Wait at most this long for the cloud's answers; 0 only asks and returns 0, and asked often is asked once.
 * @return 0 when what was pending at the call is acknowledged by the cloud and the device is caught up; DB_ERR_TIMEOUT;
 *         DB_ERR_OFFLINE when the agent is not started, or is stopped meanwhile; DB_ERR_FENCED, see ioRejoin(); DB_ERR_MISUSE, also
 *         when `timeout_ms` is negative; a code of the storage.
 * Threads: any, not from a trigger unless `timeout_ms` is 0.
 * @since 0.1
 */
IOTO_API int ioSync(Io *io, int timeout_ms);
/** Send every change that is pending at the call now, and wait for the cloud's acknowledgement. Returns as ioSync().
 *  Threads: any. @since 0.1 */
IOTO_API int ioSyncUp(Io *io, int timeout_ms);
/** Ask the cloud for every change since the last one seen, and wait until caught up. Returns as ioSync(). Threads: any.
 *  @since 0.1 */
IOTO_API int ioSyncDown(Io *io, int timeout_ms);
/** The documented name of ioSyncUp() without a wait. Threads: any. @since 0.1 */
IOTO_API int ioFlushSync(Io *io);

/**
 * Give the database a new identity, and go on as the device.
 *
 * The cloud knows each database of a device, and which connection of it was the last. When the same device id is started with
 * two databases, a storage image is cloned, or an older state of the file is restored, the one that comes with what is over is
 * fenced: it stays open, its changes are kept and queued, but nothing is sent or fetched, also after a restart. ioGetStatus()
 * says IO_LINK_FENCED and DB_ERR_FENCED, the status callback is told, and calls that wait for the cloud return DB_ERR_FENCED.
 *
 * Call this on the database that is to be the device's from now on: a restored one, once the state before is given up; a clone
 * only if the original is not to be used any more, which is then fenced in turn. A clone that becomes a device of its own needs its
 * own `deviceId` in the configuration, and no call: it gets its identity when ioOpen() sees the other id. Changes that wait in the
 * queue are sent, and the cloud's newer ones come down, as after a time offline.
 *
 * @return 0, also when the database was not fenced; or a negative code of the storage.
 * Threads: any, not within a transaction.
 * @since 0.1
 */
IOTO_API int ioRejoin(Io *io);

/** dbGetFd() of the agent's database. Threads: any; best the loop's. @since 0.1 */
IOTO_API int ioGetFd(Io *io);
/** dbDispatch() of the agent's database. Threads: any. @since 0.1 */
IOTO_API int ioDispatch(Io *io, int max_ms);

/** What has become of a change, see ioGetReceipt(). */
typedef enum IoReceiptState {
    /** It waits in the database, which survives a restart. */
    IO_RECEIPT_STORED = 1,
    /** It is on its way: the cloud has not answered yet. */
    IO_RECEIPT_SENT = 2,
    /** The cloud has it, or a later change of the same item made here, on disk. */
    IO_RECEIPT_DURABLE = 3,
    /** The cloud refused it; see dbEachRejected(). */
    IO_RECEIPT_REJECTED = 4,
    /** A change of the cloud has taken its place, see DB_ON_CONFLICT. */
    IO_RECEIPT_OVERTAKEN = 5
} IoReceiptState;

/** What ioGetReceipt() tells. Fields are appended at the end in later versions. */
typedef struct IoReceipt {
    /** sizeof(IoReceipt), set by the caller. */
    uint32_t size;
    IoReceiptState state;
    /** Of IO_RECEIPT_REJECTED: the cloud's code, DB_ERR_*, and its reason; else 0 and "". */
    int code;
    char reason[160];
} IoReceipt;

/**
 * What has become of a change that a receipt was asked for with DB_PARAMS(.receipt = &receipt). A receipt keeps its meaning over
 * restarts. The last 10,000 receipts of changes that are settled are kept, and the last 100 of one item that are not.
 *
 * @param out  Filled; its `size` is set by the caller.
 * @return 0; DB_ERR_NOT_FOUND when there is no such receipt, or no more: 0 is none; DB_ERR_MISUSE.
 * Threads: any.
 * @since 0.1
 */
IOTO_API int ioGetReceipt(Io *io, int64_t receipt, IoReceipt *out);

/**
 * Send what is pending, and wait until the cloud has decided on a change.
 *
 * @param timeout_ms  Wait at most this long; 0 asks for it to be sent and tells what is known: DB_ERR_TIMEOUT while it is open.
 * @return 0 when the cloud has it on disk; DB_ERR_REJECTED, where dbGetError() is the cloud's reason; DB_ERR_CONFLICT when a change of
 *         the cloud has taken its place; DB_ERR_TIMEOUT; DB_ERR_OFFLINE when the agent is not started, or is stopped meanwhile;
 *         DB_ERR_FENCED, see ioRejoin(); DB_ERR_NOT_FOUND; DB_ERR_MISUSE.
 * Threads: any, not from a trigger unless `timeout_ms` is 0.
 * @since 0.1
 */
IOTO_API int ioWaitReceipt(Io *io, int64_t receipt, int timeout_ms);

/** State of the link to the broker. */
typedef enum IoLink {
    IO_LINK_STOPPED = 0,
    IO_LINK_CONNECTING = 1,
    IO_LINK_CONNECTED = 2,
    /** The next try is due later. */
    IO_LINK_WAITING = 3,
    /** Another database has gone on as this device: nothing is sent or fetched before ioRejoin(). */
    IO_LINK_FENCED = 4
} IoLink;

/** What ioGetStatus() tells. Fields are appended at the end in later versions. */
typedef struct IoStatus {
    /** sizeof(IoStatus), set by the caller. */
    uint32_t size;
    /** Link to the broker. */
    IoLink link;
    /** Every change of the cloud up to the connection is applied. */
    bool caughtUp;
    /** Changes that the cloud has not acknowledged. */
    int64_t pendingItems;
    /** Changes that the cloud refused, kept for inspection. */
    int64_t rejectedItems;
    /** Since ioOpen(): changes acknowledged by the cloud, and changes of the cloud applied here. */
    int64_t sentItems, receivedItems;
    /** Since ioOpen(): bytes of MQTT payload out and in. */
    int64_t sentBytes, receivedBytes;
    /** Time of the last acknowledgement and of the last page from the cloud, Unix milliseconds, by the cloud's clock where
     *  this machine's is wrong; 0: none since ioOpen(). */
    int64_t lastUp_ms, lastDown_ms;
    /** Connections made since ioOpen(). */
    int64_t connections;
    /** Code and text of the last failure of the link or of replication; 0 and "" when there was none. */
    int lastError;
    char lastErrorText[160];
    /** Bytes of the items of `pendingItems`. */
    int64_t pendingBytes;
    /** How long the oldest of them waits; 0: none does. */
    int64_t oldestPending_ms;
    /** Conflicts since ioOpen(), see DB_ON_CONFLICT. */
    int64_t conflicts;
    /** A daily budget or a window holds changes of some model back at this time. */
    bool held;
    /** Of the last request for everything new: entries of the cloud's feeds that have come, and that there were to come. Entries are
     *  no items: those of one item that follow each other can come as one. */
    int64_t catchUpDone, catchUpTotal;
} IoStatus;

/**
 * Fill `out`, whose `size` the caller has set to sizeof(IoStatus). What is pending is weighed by reading it at the first call, and
 * again when another process has written to the database: about a second for a million changes. Otherwise a call takes microseconds.
 *
 * @return 0 or DB_ERR_MISUSE.
 * Threads: any.
 * @since 0.1
 */
IOTO_API int ioGetStatus(Io *io, IoStatus *out);

/** Told of a status, which is valid during the call. */
typedef void (*IoStatusProc)(void *context, Io *io, const IoStatus *status);

/**
 * Have a function told when the link, `caughtUp`, `connections`, `held`, `lastError` or the progress of catching up changes; and once
 * soon after this call. With ioGetStatus() and a loop of your own, set a flag in it.
 *
 * @param proc     Called on the agent's thread, one call at a time, with no lock held, while the agent is started. Replication waits
 *                 for it. It may call any function but ioStop(), ioClose(), and those that wait for the cloud. NULL: none; after
 *                 this returns, the one before is not called any more.
 * @param context  Passed to `proc`.
 * @return 0 or DB_ERR_MISUSE.
 * Threads: any.
 * @since 0.1
 */
IOTO_API int ioSetStatusProc(Io *io, IoStatusProc proc, void *context);

/** @} */
/* ------------------------------------------------------------------------------------------------------------------ */
/** @name Transport
 *  Firmware that has an MQTT session already lends it to the agent, which then makes no connection of its own: settings of
 *  `mqtt` but `prefix` and `packetSize` have no effect.
 *  @{ */

/** How the agent sends through the firmware's session. The functions are called on the agent's thread, one at a time; they must
 *  not call the library, nor wait for the broker. */
typedef struct IoTransport {
    /** sizeof(IoTransport), which may grow: what an older header does not have reads as NULL. */
    uint32_t size;
    /** Passed to both functions. */
    void *context;
    /** Publish with this QoS, 0 or 1. 0 when the session has taken the message, which is copied; else what it says is sent again
     *  later. */
    int (*publish)(void *context, const char *topic, const void *payload, size_t payload_bytes, int qos);
    /** Subscribe to a topic filter with this QoS. 0 when the broker has been asked. */
    int (*subscribe)(void *context, const char *filter, int qos);
} IoTransport;

/**
 * Have an agent use the firmware's session. The session should be persistent, and its last will, if it is free, the topic
 * `<prefix>ioto/service/<deviceId>/db/offline` with the payload `{"v":2}`: without one the cloud goes on publishing to a device
 * that is gone, which costs bytes and nothing else.
 *
 * @param transport  Copied.
 * @return 0 or DB_ERR_MISUSE, also once the agent has been started.
 * Threads: any.
 * @since 0.1
 */
IOTO_API int ioSetTransport(Io *io, const IoTransport *transport);
/**
 * Tell whether the session is connected: after each CONNACK, and when the connection is lost. The agent subscribes each time.
 *
 * @return 0, or DB_ERR_MISUSE when the agent has a session of its own.
 * Threads: any.
 * @since 0.1
 */
IOTO_API int ioTransportState(Io *io, bool isConnected);
/**
 * Hand over a message that has come, whatever its topic.
 *
 * @param payload  Copied.
 * @return 1 when the message is the agent's; 0 when its topic is none of the agent's; DB_ERR_LIMIT when too much waits for the
 *         agent: the message is dropped, and what it said comes again; also when it has more than 1 MB, which none of the cloud's
 *         has; DB_ERR_MISUSE.
 * Threads: any.
 * @since 0.1
 */
IOTO_API int ioTransportMessage(Io *io, const char *topic, const void *payload, size_t payload_bytes);

/** @} */
/* ------------------------------------------------------------------------------------------------------------------ */
/** @name Inspection
 *  For tools and diagnostics: what the schema has, what waits for the cloud, whether the file is sound. `iotodb` is made of it.
 *  @{ */

/** Number of models of the schema; 0 for NULL. Threads: any. @since 0.1 */
IOTO_API size_t dbModelCount(Db *db);
/** The model at `index`, counted from 0 in the order of the schema, owned by the database; NULL beyond the end. Threads: any.
 *  @since 0.1 */
IOTO_API const DbModel *dbModelAt(Db *db, size_t index);
/** Where items of a model exist: "both", "device" or "cloud"; static. "" for NULL. Threads: any. @since 0.1 */
IOTO_API const char *dbModelEnable(const DbModel *model);
/** Which way its changes travel: "none", "up", "down" or "both"; static, and "none" whatever the schema says where `enable` is
 *  not "both". "" for NULL. Threads: any. @since 0.1 */
IOTO_API const char *dbModelSync(const DbModel *model);

/** A change that waits for the cloud, or that the cloud refused. Fields are appended at the end in later versions. */
typedef struct DbPending {
    /** sizeof(DbPending) of the library. */
    uint32_t size;
    /** The cloud's code, as it came, of a refused change; 0 of one that waits. */
    int32_t code;
    /** Name of the model. */
    const char *model;
    /** "put": the item as it is now; "remove": the item is gone, and `item` has the properties of its key alone. */
    const char *cmd;
    const DbItem *item;
    /** When the change entered the queue, and when the item was last changed: Unix milliseconds by the database's clock. */
    int64_t queued_ms, changed_ms;
    /** When the refusal came, Unix milliseconds, and the cloud's reason; 0 and "" of a change that waits. */
    int64_t refused_ms;
    const char *reason;
    /** Number of the change; of a refused one for dbRetryRejected() and dbDiscardRejected(). */
    int64_t id;
} DbPending;

/** Called for a change, which is valid during the call. It may call the database; false ends the listing. */
typedef bool (*DbPendingProc)(void *context, const DbPending *change);

/**
 * List the changes that wait for the cloud, in the order in which they are sent. What is queued or acknowledged meanwhile is
 * or is not listed.
 *
 * @param proc     Called on the calling thread, with no lock held.
 * @param context  Passed to `proc`.
 * @return The number of calls, or a negative code.
 * Threads: any.
 * @since 0.1
 */
IOTO_API int dbEachPending(Db *db, DbPendingProc proc, void *context);
/** List the changes that the cloud refused, the oldest first: the last 1000 are kept. Those of models that the schema has no more are
 *  neither listed nor counted, until it has them again. As dbEachPending(). Threads: any. @since 0.1 */
IOTO_API int dbEachRejected(Db *db, DbPendingProc proc, void *context);

/** Told of a problem that dbCheck() found: one line that names the place, valid during the call. It must not call the
 *  database. */
typedef void (*DbReportProc)(void *context, const char *problem);

/**
 * Check the database: the file's own structure, that every item is JSON and stands under the key that its schema gives it,
 * and that what is queued for the cloud leads to an item or its removal. Items of models that the schema does not have are
 * read over. Reads and changes of others go on meanwhile; the write-ahead log grows until the check ends.
 *
 * @param proc     Called on the calling thread for each problem; after 100 the check ends. NULL: the number is enough.
 * @param context  Passed to `proc`.
 * @return The number of problems, 0 when the database is sound, or a negative code when it could not be checked.
 * Threads: any.
 * @since 0.1
 */
IOTO_API int dbCheck(Db *db, DbReportProc proc, void *context);

/**
 * Give the space that removed items have left back to the file system, in steps between which others can write, and empty the
 * write-ahead log as far as readers allow. Commits do so by themselves, 64 KB each, once a quarter of the file is free; this
 * goes on to the end.
 *
 * @return Bytes by which the database became smaller, or a negative code: DB_ERR_READ_ONLY; DB_ERR_BUSY when others write for
 *         too long; DB_ERR_MISUSE within a transaction of this thread.
 * Threads: any.
 * @since 0.1
 */
IOTO_API int64_t dbVacuum(Db *db);

/** @} */
/* ------------------------------------------------------------------------------------------------------------------ */
/** @name Verification
 *  Whether device and cloud hold the same: `iotodb digest` and `ioto-cloud digest` tell it, each of its own side.
 *  @{ */

/** What ioDigest() tells. Fields are appended at the end in later versions. */
typedef struct IoDigest {
    /** sizeof(IoDigest), set by the caller. */
    uint32_t size;
    /** 32 hexadecimal digits. Equal on both sides exactly when both hold the same items: the same keys, with the same properties
     *  and values. The order of properties and the way a number is written (5, 5.0) do not count, nor do `deviceId` and
     *  `accountId`, which say what stream an item is in. */
    char value[36];
    /** Number of items. */
    int64_t items;
    /** How far the stream of the cloud is followed: the feed it is, and its position; 0: it never was. */
    uint64_t history;
    int64_t cursor;
    /** Changes that wait for the cloud, of all streams. While there are any, both sides may well differ. */
    int64_t pendingItems;
} IoDigest;

/** Told of an item and what it adds to the digest, by the key that the schema gives it; the texts are valid during the call. It must
 *  not call the database; false ends the digest, which is then that of what was told. */
typedef bool (*IoDigestProc)(void *context, const char *model, const char *hash, const char *sort, const char *value);

/**
 * Sum up the items that the device and the cloud exchange, for a comparison with the cloud's sum. Items of models that do not travel
 * (`sync`, `enable`), expired ones, and removed ones do not count. It reads every item of the models that do, in one state of the
 * database and item by item; changes of others go on meanwhile, and the write-ahead log grows until it ends.
 *
 * @param stream   "device/<id>", "account/<id>" or "all"; NULL: that of the `deviceId` of dbAddContext() or of the agent. An item belongs
 *                 to its `deviceId`; else, if its model comes down, to its `accountId`; else to all.
 * @param out      Filled; its `size` is set by the caller.
 * @param proc     Called for each item on the calling thread, model by model in the order of the schema, in the order of the keys;
 *                 NULL: not.
 * @param context  Passed to `proc`.
 * @return 0; DB_ERR_MISUSE, also when `stream` is NULL and there is no `deviceId`; DB_ERR_CORRUPT when an item is not JSON; a code of
 *         the storage.
 * Threads: any.
 * @since 0.1
 */
IOTO_API int ioDigest(Db *db, const char *stream, IoDigest *out, IoDigestProc proc, void *context);

/** A version of an item, the one that is stored or one before. */
typedef struct IoVersion {
    /** sizeof(IoVersion) of the library. */
    uint32_t size;
    /** Written by this database: else by the cloud or another one. */
    bool isOwn;
    /** It removed the item. */
    bool isRemoval;
    /** The version, and the time in it: Unix milliseconds by the writer's clock. */
    const char *version;
    int64_t time_ms;
    /** How it travelled. "waiting": for the cloud; "aside": the schema does not send it any more; "rejected": by the cloud; "acknowledged":
     *  the cloud has it; "unsent": the cloud had not answered when the next one came; "up": it was sent; "down": it came from the
     *  cloud; "local": the model does not travel. */
    const char *path;
    /** What became of it. "current"; "overwritten"; "lost": it gave way to one made without knowledge of it; "refused": it came, and gave
     *  way to the one that was here; "merged": it was joined with another; "restamped": the cloud gave it another version;
     *  "expired". */
    const char *fate;
    /** Why the cloud rejected it, else "". */
    const char *reason;
} IoVersion;

/** Told of a version, which is valid during the call. It must not call the database. */
typedef void (*IoVersionProc)(void *context, const IoVersion *version);

/**
 * Tell the last versions of an item, or of one that was removed, the newest first: who wrote them and when, how they travelled, and
 * what became of them; each took the place of those after it. The version that is stored and up to four before it are kept, of
 * models that travel, none of their values; of a removed item as long as its removal is remembered.
 *
 * @param model    Model name, UTF-8.
 * @param props    Properties that give the whole key.
 * @param proc     Called for each version on the calling thread.
 * @param context  Passed to `proc`.
 * @return The number of calls; DB_ERR_NOT_FOUND when nothing is known of such an item; DB_ERR_MODEL; DB_ERR_KEY; DB_ERR_MISUSE; a
 *         code of the storage.
 * Threads: any.
 * @since 0.1
 */
IOTO_API int ioExplain(Db *db, const char *model, const DbProps *props, IoVersionProc proc, void *context);

/** @} */

#ifdef __cplusplus
}
#endif
#endif /* IOTO_H */
