target_link_libraries(${target} PRIVATE PkgConfig::ZLIB PkgConfig::ZSTD)
execute_process(COMMAND git -C ${PROJECT_SOURCE_DIR} rev-parse --short=12 HEAD
                OUTPUT_VARIABLE git_revision OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT git_revision)
  set(git_revision unknown)
endif()
# A commit or a checkout since makes the next build ask again.
execute_process(COMMAND git -C ${PROJECT_SOURCE_DIR} rev-parse --git-path logs/HEAD
                OUTPUT_VARIABLE git_log OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(git_log)
  cmake_path(ABSOLUTE_PATH git_log BASE_DIRECTORY ${PROJECT_SOURCE_DIR})
  if(EXISTS ${git_log})
    set_property(DIRECTORY ${PROJECT_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${git_log})
  endif()
endif()
set_source_files_properties(${PROJECT_SOURCE_DIR}/core/version.cc PROPERTIES COMPILE_DEFINITIONS
  "ZEROTH_VERSION=\"${PROJECT_VERSION}\";ZEROTH_GIT_REVISION=\"${git_revision}\"")
