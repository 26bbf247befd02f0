// The header alone, before any other, as C++17; from C++20 on with DB_PARAMS too.
#include <ioto.h>

#include <cstdio>
#include <cstring>

namespace {

int failures = 0;

void expect(bool isMet, const char *what)
{
    if (!isMet) {
        std::printf("not met: %s\n", what);
        failures++;
    }
}

bool isPair(const DbProps *props)
{
    return props->size == sizeof(DbProps) && props->count == 2 && std::strcmp(props->pairs[1], "1") == 0;
}

} // namespace

int main()
{
    expect(std::strcmp(ioVersion(), IOTO_VERSION) == 0, "header and library are of one version");
    expect(isPair(DB_PROPS("id", "1")), "DB_PROPS counts its texts");
    expect(std::strcmp(DB_JSON("{id: 1}")->json, "{id: 1}") == 0, "DB_JSON holds its text");
    expect(DB_CJSON(nullptr)->object == nullptr, "DB_CJSON holds its object");
    DbParams params = ioto::dbParams();
    params.limit = 20;
    expect(params.size == sizeof(DbParams) && params.next == nullptr, "dbParams sets the size");
#if __cplusplus >= 202002L
    expect(DB_PARAMS(.limit = 20)->limit == 20, "DB_PARAMS sets what is named");
#endif
    expect(dbCreate(nullptr, "Note", DB_PROPS("id", "1"), &params) == nullptr, "dbCreate on NULL fails");
    expect(dbGetErrorCode() == DB_ERR_MISUSE, "and says why");

    std::size_t index;
    const DbItem *item;
    for (DB_ITERATE(nullptr, item, index)) {
        expect(false, "NULL is an empty list");
    }
    dbAddTrigger(
        nullptr, [](void *, Db *, const DbModel *, const DbItem *, const DbParams *, const char *, int) {}, nullptr, nullptr,
        DB_ON_REMOTE);
    dbFreeList(nullptr);
    ioClose(nullptr);
    return failures == 0 ? 0 : 1;
}
