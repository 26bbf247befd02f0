# What an installed ioto consists of: the library, the header, the CMake package, ioto.pc; and the Debian package of them.
include(CMakePackageConfigHelpers)

set(_package ${CMAKE_INSTALL_LIBDIR}/cmake/ioto)
install(TARGETS ioto EXPORT ioto-targets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES ${PROJECT_SOURCE_DIR}/include/ioto.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT ioto-targets NAMESPACE ioto:: DESTINATION ${_package})
configure_package_config_file(
    ${CMAKE_CURRENT_LIST_DIR}/ioto-config.cmake.in ${PROJECT_BINARY_DIR}/ioto-config.cmake INSTALL_DESTINATION ${_package})
# Before 1.0 a minor version may change the interface.
write_basic_package_version_file(
    ${PROJECT_BINARY_DIR}/ioto-config-version.cmake VERSION ${PROJECT_VERSION} COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/ioto-config.cmake ${PROJECT_BINARY_DIR}/ioto-config-version.cmake
        DESTINATION ${_package})

# ioto.pc finds its prefix from where it stands, so that an installed tree can be moved.
file(RELATIVE_PATH IOTO_PC_PREFIX /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
string(REGEX REPLACE "/$" "" IOTO_PC_PREFIX "${IOTO_PC_PREFIX}")
configure_file(${CMAKE_CURRENT_LIST_DIR}/ioto.pc.in ${PROJECT_BINARY_DIR}/ioto.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/ioto.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# cmake --build <build> --target examples: install into the build folder and build examples-c/ as a stranger would.
add_custom_target(examples
    COMMAND ${CMAKE_COMMAND} --install ${PROJECT_BINARY_DIR} --prefix ${PROJECT_BINARY_DIR}/stage
    COMMAND ${CMAKE_COMMAND} -S ${PROJECT_SOURCE_DIR}/examples-c -B ${PROJECT_BINARY_DIR}/examples-c -G ${CMAKE_GENERATOR}
            -DCMAKE_PREFIX_PATH=${PROJECT_BINARY_DIR}/stage -DCMAKE_BUILD_TYPE=${CMAKE_BUILD_TYPE}
            $<$<BOOL:${CMAKE_TOOLCHAIN_FILE}>:--toolchain=${CMAKE_TOOLCHAIN_FILE}>
    COMMAND ${CMAKE_COMMAND} --build ${PROJECT_BINARY_DIR}/examples-c
    COMMAND_EXPAND_LISTS VERBATIM USES_TERMINAL)
add_dependencies(examples ioto)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME libioto)
set(CPACK_PACKAGE_VENDOR "The ioto authors")
set(CPACK_PACKAGE_CONTACT "The ioto authors <maintainers@ioto.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY ${PROJECT_DESCRIPTION})
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
if(CMAKE_CROSSCOMPILING)
    # dpkg-shlibdeps knows the libraries of this machine only.
    set(CPACK_DEBIAN_PACKAGE_DEPENDS "libc6, libsqlite3-0, libmosquitto1, libcjson1")
    if(PCRE2_LIBRARY)
        string(APPEND CPACK_DEBIAN_PACKAGE_DEPENDS ", libpcre2-8-0")
    endif()
    if(ZLIB_LIBRARY)
        string(APPEND CPACK_DEBIAN_PACKAGE_DEPENDS ", zlib1g")
    endif()
    set(CPACK_DEBIAN_PACKAGE_ARCHITECTURE ${IOTO_DEBIAN_ARCHITECTURE})
else()
    set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
endif()
include(CPack)
