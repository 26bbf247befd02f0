# 32-bit ARMv7 Linux, hard-float, with Debian's cross gcc (package gcc-arm-linux-gnueabihf).
#
#   cmake --toolchain cmake/toolchain-armhf.cmake -DIOTO_SYSROOT=<root of the target's file system> ...
#
# IOTO_SYSROOT holds the C library and libsqlite3, libmosquitto and libcjson with their headers; scripts/cross makes one.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR armv7l)
set(IOTO_GNU_TRIPLE arm-linux-gnueabihf)
set(IOTO_SWIFT_TARGET armv7-none-none-eabi)
# Floating-point arguments travel in VFP registers, as in everything that Debian's armhf port is made of.
# Thumb-2 instructions, as in all of Debian's armhf port, are a quarter smaller; the standard library comes for the ARM triple.
set(IOTO_SWIFT_TARGET_FLAGS
    -Xcc -mfloat-abi=hard -Xcc -mfpu=vfpv3-d16 -Xcc -Xclang -Xcc -target-feature -Xcc -Xclang -Xcc +thumb-mode)
set(IOTO_SWIFT_TARGET_CODEGEN -float-abi=hard)
set(IOTO_DEBIAN_ARCHITECTURE armhf)
include(${CMAKE_CURRENT_LIST_DIR}/toolchain-debian.cmake)
