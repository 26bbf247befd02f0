#!/usr/bin/env bash
# The way without CMake: pkg-config.sh <installed lib folder> <program.c>
# The tree is copied first, so that ioto.pc proves that it names no place but its own.
set -euo pipefail
prefix=$(dirname "$1") program=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp -R "$prefix" "$folder/moved"
export PKG_CONFIG_PATH="$folder/moved/lib/pkgconfig"
flags=$(pkg-config --cflags --libs ioto)
echo "pkg-config --cflags --libs ioto: $flags"
case $flags in
*"$prefix/"*)
    echo "NOT MET: ioto.pc names the prefix it was installed under"
    exit 1
    ;;
esac
# shellcheck disable=SC2086 # flags are words
"${CC:-cc}" -std=c99 -Wall -Wextra -Wpedantic -Werror -o "$folder/program" "$program" $flags
LD_LIBRARY_PATH="$folder/moved/lib" "$folder/program"
echo "ok: compiled, linked and run by ioto.pc of a moved tree"
