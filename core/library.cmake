target_link_libraries(${target} PRIVATE PkgConfig::ZLIB)
execute_process(COMMAND git -C ${PROJECT_SOURCE_DIR} rev-parse --short=12 HEAD
                OUTPUT_VARIABLE git_revision OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT git_revision)
  set(git_revision unknown)
endif()
set_source_files_properties(${PROJECT_SOURCE_DIR}/core/version.cc PROPERTIES COMPILE_DEFINITIONS
  "ZEROTH_VERSION=\"${PROJECT_VERSION}\";ZEROTH_GIT_REVISION=\"${git_revision}\"")
