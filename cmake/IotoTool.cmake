# iotodb, the command-line tool: C over ioto.h alone, linked with the library as any firmware is.
file(GLOB _tool CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/Sources/iotodb/*.c)
add_executable(iotodb ${_tool})
set_target_properties(iotodb PROPERTIES
    C_STANDARD 99
    C_STANDARD_REQUIRED ON
    C_EXTENSIONS OFF)
# A relative path, so that an installed tree can be moved.
file(RELATIVE_PATH _tool_library /prefix/${CMAKE_INSTALL_BINDIR} /prefix/${CMAKE_INSTALL_LIBDIR})
set_target_properties(iotodb PROPERTIES INSTALL_RPATH "$ORIGIN/${_tool_library}")
target_compile_definitions(iotodb PRIVATE _XOPEN_SOURCE=700 _DEFAULT_SOURCE ${IOTO_WIDE_DEFINITIONS})
target_compile_options(iotodb PRIVATE
    -Wall -Wextra -Wpedantic -Werror $<$<BOOL:${IOTO_SANITIZE}>:-fsanitize=${IOTO_SANITIZE}>)
target_link_options(iotodb PRIVATE
    LINKER:--as-needed LINKER:-z,relro,-z,now $<$<BOOL:${IOTO_SANITIZE}>:-fsanitize=${IOTO_SANITIZE}>)
target_link_libraries(iotodb PRIVATE ioto)
install(TARGETS iotodb RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES ${PROJECT_SOURCE_DIR}/Sources/iotodb/iotodb.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
