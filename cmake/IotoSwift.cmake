# Embedded Swift for CMake: one function that compiles one module to one object file.
#
# CMake's own Swift support drives the hosted compiler and knows only Ninja and Xcode; a firmware build wants the bare
# compiler, whole modules, and any generator.
#
#   IOTO_SWIFTC             swiftc of a Swift 6.3 toolchain; found on PATH unless given
#   IOTO_SWIFT_TARGET       triple of the Embedded standard library; toolchain files set it
#   IOTO_SWIFT_TARGET_FLAGS flags that belong to that triple, such as the floating-point convention
#   IOTO_SWIFT_TARGET_CODEGEN what LLVM must be told of that triple again when it compiles at the link
#   IOTO_OPTIMIZE           speed (-O) or size (-Osize, and no copy of a function for each closure)
#   IOTO_LTO                optimize the modules as one at link time, by the toolchain's own lld; ON where it is found
#   IOTO_SWIFT_FLAGS        further flags, a list

find_program(IOTO_SWIFTC NAMES swiftc DOC "Swift compiler, 6.3 or later")
if(NOT IOTO_SWIFTC)
    message(FATAL_ERROR "swiftc was not found. Install Swift 6.3 (swift.org/install) and put its usr/bin on PATH, "
                        "or give -DIOTO_SWIFTC=<path of swiftc>.")
endif()
execute_process(COMMAND ${IOTO_SWIFTC} --version OUTPUT_VARIABLE _version ERROR_VARIABLE _version_error)
string(REGEX MATCH "Swift version ([0-9]+\\.[0-9]+)" _match "${_version}")
if(NOT _match OR CMAKE_MATCH_1 VERSION_LESS 6.3)
    message(FATAL_ERROR "${IOTO_SWIFTC} is not Swift 6.3 or later: ${_version}${_version_error}")
elseif(CMAKE_MATCH_1 VERSION_GREATER 6.3)
    message(WARNING "ioto is made and tested with Swift 6.3; this is ${CMAKE_MATCH_1}. Run the tests before you ship it.")
endif()

set(IOTO_SWIFT_FLAGS "" CACHE STRING "Further flags for swiftc, separated by semicolons")
set(IOTO_OPTIMIZE "size" CACHE STRING "Optimize the Swift modules for: speed, size")
set_property(CACHE IOTO_OPTIMIZE PROPERTY STRINGS speed size)
if(IOTO_OPTIMIZE STREQUAL "speed")
    set(_ioto_swift_optimize -O)
elseif(IOTO_OPTIMIZE STREQUAL "size")
    # A copy of a function for each closure that it is called with costs 8 % of the library.
    set(_ioto_swift_optimize -Osize -Xllvm -sil-disable-pass=closure-specialize)
else()
    message(FATAL_ERROR "IOTO_OPTIMIZE is '${IOTO_OPTIMIZE}'; it is 'speed' or 'size'.")
endif()

# The Embedded standard library comes for x86_64 Linux and, for every other processor, for bare metal, which is
# independent of the C library: there the C headers are the ones of the C compiler in use.
if(NOT IOTO_SWIFT_TARGET)
    if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
        set(IOTO_SWIFT_TARGET x86_64-unknown-linux-gnu)
    elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
        set(IOTO_SWIFT_TARGET aarch64-none-none-elf)
    else()
        message(FATAL_ERROR "No Swift target is known for ${CMAKE_SYSTEM_PROCESSOR}. Give a toolchain file (cmake/toolchain-*.cmake) "
                            "or -DIOTO_SWIFT_TARGET=<triple>.")
    endif()
endif()

# The modules are one program, so they are optimized as one: swiftc emits LLVM bitcode, which lld compiles at the link.
# Only the lld of the same toolchain is sure to read it. Without it each module is compiled alone, and the library is
# larger. A sanitizer wants code as the compiler left it.
execute_process(COMMAND ${IOTO_SWIFTC} -print-target-info OUTPUT_VARIABLE _target_info)
string(JSON _swift_resources ERROR_VARIABLE _json_error GET "${_target_info}" paths runtimeResourcePath)
find_program(IOTO_LLD NAMES ld.lld HINTS ${_swift_resources}/../../bin NO_DEFAULT_PATH DOC "ld.lld of the Swift toolchain")
mark_as_advanced(IOTO_LLD)
set(_lto_default OFF)
if(IOTO_LLD)
    set(_lto_default ON)
endif()
option(IOTO_LTO "Optimize the Swift modules as one at link time" ${_lto_default})
if(IOTO_SANITIZE)
    set(IOTO_LTO OFF)
endif()

# IOTO_SWIFT_LINK_OPTIONS: what the link of the modules needs.
set(IOTO_SWIFT_LINK_OPTIONS)
set(_ioto_swift_lto)
if(IOTO_LTO)
    if(NOT IOTO_LLD)
        message(FATAL_ERROR "IOTO_LTO needs the ld.lld of the Swift toolchain, and ${IOTO_SWIFTC} has none.")
    endif()
    set(_ioto_swift_lto -lto=llvm-full)
    # gcc and clang look for ld.lld in the folders of -B. One with nothing else in it, so that no other tool changes.
    file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/swift/lld)
    file(CREATE_LINK ${IOTO_LLD} ${CMAKE_BINARY_DIR}/swift/lld/ld.lld SYMBOLIC)
    # -static-libgcc: what LLVM calls of libgcc is not known before the link, and lld would take it from libgcc_s.
    list(APPEND IOTO_SWIFT_LINK_OPTIONS
        -fuse-ld=lld -B${CMAKE_BINARY_DIR}/swift/lld -static-libgcc LINKER:--lto-O2)
    foreach(_flag IN LISTS IOTO_SWIFT_TARGET_CODEGEN)
        list(APPEND IOTO_SWIFT_LINK_OPTIONS LINKER:-mllvm,${_flag})
    endforeach()
endif()

# For size: functions alike become one (ICF); a retain and an allocation are calls, for there are thousands of them and
# inlined each takes some 30 bytes, and so is Array.append(_:), Sa6appendyyxnF by its mangled name.
# Code that is the same in many places is called, where that saves 3 bytes or more: 3 % of the library for 1 % of the
# instructions of a create.
if(IOTO_OPTIMIZE STREQUAL "size" AND NOT IOTO_SANITIZE)
    foreach(_function swift_retain swift_retain_n swift_release swift_release_n swift_allocObject swift_once)
        list(APPEND _ioto_swift_optimize -Xllvm -force-attribute=${_function}:noinline)
    endforeach()
    list(APPEND _ioto_swift_optimize -Xllvm -sil-inline-never-functions=Sa6appendyyxnF)
    if(IOTO_LTO)
        list(APPEND IOTO_SWIFT_LINK_OPTIONS
            LINKER:--icf=all LINKER:-mllvm,-enable-machine-outliner=always LINKER:-mllvm,-outliner-benefit-threshold=3)
    endif()
endif()

set(_ioto_swift_flags
    -target ${IOTO_SWIFT_TARGET}
    -enable-experimental-feature Embedded
    -swift-version 6
    -parse-as-library
    -wmo
    ${_ioto_swift_optimize}
    ${_ioto_swift_lto}
    # Swift's own LLVM passes take a retain for a call that touches no memory, and move it. In Embedded Swift the test
    # of a buffer for a single owner is a plain load of the count, which must not pass the retain before it.
    -Xfrontend -disable-swift-specific-llvm-optzns
    -warnings-as-errors
    -Xfrontend -function-sections
    -Xcc -fPIC
    -module-cache-path ${CMAKE_BINARY_DIR}/swift/module-cache
    ${IOTO_SWIFT_TARGET_FLAGS}
    ${IOTO_SWIFT_FLAGS})
if(IOTO_SWIFT_TARGET MATCHES "-none-none-")
    foreach(_directory IN LISTS CMAKE_C_IMPLICIT_INCLUDE_DIRECTORIES)
        # swiftc brings its own stddef.h and stdarg.h; those of gcc don't fit its parser.
        if(NOT _directory MATCHES "/gcc(-cross)?/")
            list(APPEND _ioto_swift_flags -Xcc -isystem -Xcc ${_directory})
        endif()
    endforeach()
endif()
if(IOTO_SANITIZE)
    list(APPEND _ioto_swift_flags -sanitize=${IOTO_SANITIZE})
    if(IOTO_SANITIZE STREQUAL "thread")
        # The runtime is that of the C compiler; gcc's watches memcpy itself, and has none of clang's calls for it.
        list(APPEND _ioto_swift_flags -Xllvm -tsan-instrument-memintrinsics=0)
    endif()
endif()

# ioto_swift_c_module(NAME DIRECTORY [INCLUDES directory...])
#
# Make the C headers of DIRECTORY, which holds a module.modulemap, importable as NAME.
function(ioto_swift_c_module NAME DIRECTORY)
    cmake_parse_arguments(PARSE_ARGV 2 ARG "" "" "INCLUDES")
    set(flags -Xcc -fmodule-map-file=${DIRECTORY}/module.modulemap)
    foreach(include IN LISTS ARG_INCLUDES)
        if(NOT include IN_LIST CMAKE_C_IMPLICIT_INCLUDE_DIRECTORIES)
            list(APPEND flags -Xcc -I${include})
        endif()
    endforeach()
    file(GLOB headers CONFIGURE_DEPENDS ${DIRECTORY}/*.h ${DIRECTORY}/module.modulemap)
    set_property(GLOBAL PROPERTY IOTO_SWIFT_${NAME}_FLAGS ${flags})
    set_property(GLOBAL PROPERTY IOTO_SWIFT_${NAME}_FILES ${headers})
endfunction()

# ioto_swift_module(NAME [DEPENDS module...] [DEFINES name...])
#
# Compile Sources/NAME/**/*.swift to <build>/swift/NAME.swiftmodule and NAME.o, after the modules it depends on: Swift
# modules, and C modules of ioto_swift_c_module(). NAME.o is appended to the list IOTO_SWIFT_OBJECTS of the caller.
function(ioto_swift_module NAME)
    cmake_parse_arguments(PARSE_ARGV 1 ARG "" "" "DEPENDS;DEFINES")
    list(TRANSFORM ARG_DEFINES PREPEND -D)
    set(directory ${CMAKE_BINARY_DIR}/swift)
    file(MAKE_DIRECTORY ${directory})
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/Sources/${NAME}/*.swift)
    if(NOT sources)
        message(FATAL_ERROR "Module ${NAME}: no Swift file in Sources/${NAME}.")
    endif()
    list(SORT sources)

    # A module sees what its dependencies import, so both lists are passed on.
    set(flags)
    set(files)
    foreach(module IN LISTS ARG_DEPENDS)
        get_property(module_flags GLOBAL PROPERTY IOTO_SWIFT_${module}_FLAGS)
        get_property(module_files GLOBAL PROPERTY IOTO_SWIFT_${module}_FILES)
        if(NOT module_files)
            message(FATAL_ERROR "Module ${NAME} depends on ${module}, which is not declared before it.")
        endif()
        foreach(flag IN LISTS module_flags)
            if(NOT flag STREQUAL "-Xcc" AND NOT flag IN_LIST flags)
                list(APPEND flags -Xcc ${flag})
            endif()
        endforeach()
        list(APPEND files ${module_files})
    endforeach()
    list(REMOVE_DUPLICATES files)

    add_custom_command(
        OUTPUT ${directory}/${NAME}.o ${directory}/${NAME}.swiftmodule
        COMMAND ${IOTO_SWIFTC} ${_ioto_swift_flags} ${flags} ${ARG_DEFINES} -I ${directory}
                -module-name ${NAME} -emit-module -emit-module-path ${directory}/${NAME}.swiftmodule
                -c -o ${directory}/${NAME}.o ${sources}
        DEPENDS ${sources} ${files}
        COMMENT "Swift module ${NAME}"
        VERBATIM)
    set_property(GLOBAL PROPERTY IOTO_SWIFT_${NAME}_FLAGS ${flags})
    set_property(GLOBAL PROPERTY IOTO_SWIFT_${NAME}_FILES ${directory}/${NAME}.swiftmodule ${files})
    set(IOTO_SWIFT_OBJECTS ${IOTO_SWIFT_OBJECTS} ${directory}/${NAME}.o PARENT_SCOPE)
endfunction()
