# Fails when docs/options.md is not what the code prints: cmake -DPROGRAM=... -DDOC=... -P compare_doc.cmake
execute_process(COMMAND ${PROGRAM} OUTPUT_VARIABLE printed COMMAND_ERROR_IS_FATAL ANY)
file(READ ${DOC} written)
if(NOT printed STREQUAL written)
  message(FATAL_ERROR "docs/options.md differs from config/options.def. Write it anew:\n  ${PROGRAM} > ${DOC}")
endif()
