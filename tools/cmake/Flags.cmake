# What every target is compiled with, as one interface target. SANITIZE is a list for -fsanitize=.
set(SANITIZE "" CACHE STRING "Sanitizers to build with, as for -fsanitize=")

add_library(pgsteer_flags INTERFACE)
target_include_directories(pgsteer_flags INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/generated)
target_compile_definitions(pgsteer_flags INTERFACE _GNU_SOURCE PGSTEER_VERSION="${PROJECT_VERSION}")
target_compile_options(pgsteer_flags INTERFACE
  -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wswitch-enum -Wformat=2 -Wvla -Wundef
  -Wconversion -Wno-sign-conversion -Werror=implicit-function-declaration -fno-omit-frame-pointer)
if(SANITIZE)
  target_compile_options(pgsteer_flags INTERFACE -fsanitize=${SANITIZE} -fno-sanitize-recover=all -O1 -Werror)
  target_link_options(pgsteer_flags INTERFACE -fsanitize=${SANITIZE})
elseif(CMAKE_BUILD_TYPE STREQUAL "Debug")
  target_compile_options(pgsteer_flags INTERFACE -Werror)
else()
  target_compile_definitions(pgsteer_flags INTERFACE _FORTIFY_SOURCE=3)
  target_compile_options(pgsteer_flags INTERFACE -O2 -fstack-protector-strong -fstack-clash-protection -fcf-protection)
  target_link_options(pgsteer_flags INTERFACE -pie -Wl,-z,relro,-z,now)
  # Small functions of one module are called at every message from another: the program is optimised as a whole. Fat
  # objects, so that tests link as fast as ever.
  if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    target_compile_options(pgsteer_flags INTERFACE -flto=auto -ffat-lto-objects)
    set(PGSTEER_PROGRAM_LINK_OPTIONS -flto=auto -Wno-psabi)
  endif()
endif()
