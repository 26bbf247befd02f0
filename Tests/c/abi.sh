#!/usr/bin/env bash
# What libioto.so is made of: abi.sh <libioto.so> <ioto.h>
# It needs C libraries only, exports what the header declares and nothing else, and stays small. NM, READELF, STRIP and
# CC name the tools of another architecture.
set -euo pipefail
library=$1 header=$2
SIZE_MAX_BYTES=700000
# Nothing of a glibc younger than this may be asked for.
GLIBC_MAX=2.34

failures=0
check() {
    local what=$1 expected=$2 actual=$3
    if [ "$expected" = "$actual" ]; then
        echo "ok: $what"
    else
        echo "NOT MET: $what"
        diff <(echo "$expected") <(echo "$actual") | sed 's/^</  expected:/; s/^>/  found:/; /^[0-9]/d' || true
        failures=$((failures + 1))
    fi
}

dynamic=$("${READELF:-readelf}" -dW "$library")
check "SONAME is libioto.so.1" libioto.so.1 "$(sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p' <<<"$dynamic")"

needed=$(sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' <<<"$dynamic" | sort)
echo "needs: ${needed//$'\n'/ }"
allowed='^(libc\.so\.6|libm\.so\.6|libsqlite3\.so\.0|libmosquitto\.so\.1|libcjson\.so\.1|libpcre2-8\.so\.0|libz\.so\.1|ld-linux.*)$'
check "only C libraries are needed" "" "$(grep -Ev "$allowed" <<<"$needed" || true)"
check "SQLite, Mosquitto and cJSON are needed" $'libcjson.so.1\nlibmosquitto.so.1\nlibsqlite3.so.0' \
    "$(grep -E 'cjson|mosquitto|sqlite3' <<<"$needed" || true)"
check "no run path, no text relocation" "" "$(grep -E 'RPATH|RUNPATH|TEXTREL' <<<"$dynamic" || true)"
check "every symbol is bound at load" 1 "$(grep -c 'FLAGS_1.*NOW' <<<"$dynamic" || true)"

# As the compiler sees it: IOTO_API stands for default visibility, and comments, which quote code, are gone.
marker='__attribute__ *((visibility("default")))'
declared=$("${CC:-cc}" -E -P -x c "$header" | tr '\n' ' ' | grep -o "$marker[^(;]*(" | sed "s/ *($//; s/.*[ *]//" | sort)
exported=$("${NM:-nm}" -D --defined-only "$library" | awk '{ print $NF }' | sort)
check "exports are the $(wc -l <<<"$declared") functions of the header" "$declared" "$exported"
check "exports begin with db or io" "" "$(grep -Ev '^(db|io)' <<<"$exported" || true)"

undefined=$("${NM:-nm}" -D --undefined-only "$library" | awk '{ print $NF }')
check "no Swift runtime, no C++" "" "$(grep -E '^(swift_|_swift|\$s|_Z|__cxa_throw|__gxx)' <<<"$undefined" || true)"
# What has a twin of 64 bits where long has 32: with the plain one time ends in 2038 and a file at 2 GB.
if "${READELF:-readelf}" -h "$library" | grep -q 'Class: *ELF32'; then
    narrow='^(clock_gettime|clock_nanosleep|time|gettimeofday|nanosleep|gmtime_r|localtime_r|pthread_cond_timedwait|pthread_cond_clockwait'
    narrow+='|[fl]?stat|fstatat|open|openat|pread|pwrite|lseek|f?truncate|fallocate)@'
    check "times and offsets have 64 bits" "" "$(grep -E "$narrow" <<<"$undefined" || true)"
fi
glibc=$(sed -n 's/.*@GLIBC_//p' <<<"$undefined" | sort -V | tail -n 1)
check "loads on glibc $GLIBC_MAX (needs $glibc)" "$GLIBC_MAX" "$(printf '%s\n' "$glibc" "$GLIBC_MAX" | sort -V | tail -n 1)"

stripped=$(mktemp)
trap 'rm -f "$stripped"' EXIT
"${STRIP:-strip}" --strip-unneeded -o "$stripped" "$library"
bytes=$(stat -c %s "$stripped")
check "stripped size is $bytes bytes, at most $SIZE_MAX_BYTES" yes "$([ "$bytes" -le "$SIZE_MAX_BYTES" ] && echo yes || echo no)"

[ $failures -eq 0 ]
