# 64-bit ARM Linux with Debian's cross gcc (package gcc-aarch64-linux-gnu).
#
#   cmake --toolchain cmake/toolchain-aarch64.cmake -DIOTO_SYSROOT=<root of the target's file system> ...
#
# IOTO_SYSROOT holds the C library and libsqlite3, libmosquitto and libcjson with their headers; scripts/cross makes one.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(IOTO_GNU_TRIPLE aarch64-linux-gnu)
set(IOTO_SWIFT_TARGET aarch64-none-none-elf)
set(IOTO_DEBIAN_ARCHITECTURE arm64)
include(${CMAKE_CURRENT_LIST_DIR}/toolchain-debian.cmake)
