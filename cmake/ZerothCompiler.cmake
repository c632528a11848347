# For what is installed: a mistake in bounds ends the program instead of handing it over. Stack protector, checked libc
# calls, checked containers (not in kernels and policy, whose loops are the hot path), addresses of functions read-only
# from the start. tests/cli/hardening.sh looks at the binary. Sanitizers see more and want none of it.
function(zeroth_harden target)
  if(ZEROTH_SANITIZE OR ZEROTH_TSAN OR ZEROTH_FUZZ)
    return()
  endif()
  target_compile_options(${target} PRIVATE -fstack-protector-strong
                         "$<$<CONFIG:Release>:-U_FORTIFY_SOURCE;-D_FORTIFY_SOURCE=2>")
  if(NOT target MATCHES "^zeroth_(kernels|policy)$")
    target_compile_definitions(${target} PRIVATE _GLIBCXX_ASSERTIONS)
  endif()
  target_link_options(${target} PUBLIC LINKER:-z,relro,-z,now)
endfunction()

# Flags of every target. The numeric contract (docs/numerics.md) forbids any freedom in floating point: no contraction
# of a*b+c into an FMA unless the source says so, no reassociation, IEEE division and square root.
function(zeroth_compile_options target)
  # -Wrestrict of g++ 12 misfires on std::string concatenation (GCC bug 105651).
  target_compile_options(${target} PRIVATE -Wall -Wextra "$<$<CXX_COMPILER_ID:GNU>:-Wno-restrict;-Wno-maybe-uninitialized>" -Werror -ffp-contract=off -fno-fast-math -fno-math-errno)
  if(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    target_compile_options(${target} PRIVATE -fsigned-char)  # as on x86-64: Arm's char has no sign
  endif()
  target_include_directories(${target} PUBLIC ${PROJECT_SOURCE_DIR})
  if(ZEROTH_SANITIZE)
    # clang 14 cannot write the prologue of that check in front of a coroutine.
    target_compile_options(${target} PRIVATE -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
                           $<$<CXX_COMPILER_ID:Clang>:-fno-sanitize=function>)
    target_link_options(${target} PUBLIC -fsanitize=address,undefined)
  endif()
  if(ZEROTH_TSAN)
    target_compile_options(${target} PRIVATE -fsanitize=thread -fno-omit-frame-pointer)
    target_link_options(${target} PUBLIC -fsanitize=thread)
  endif()
  if(ZEROTH_FUZZ)
    target_compile_options(${target} PRIVATE -fsanitize=fuzzer-no-link)
  endif()
endfunction()

# The kernels add -O3 for themselves; elsewhere it only costs compile time.
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
# Sanitized builds find faults, not nanoseconds: half the compile time, and lines in their reports.
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -g1")

find_program(ccache_program ccache)
if(ccache_program)
  # Without this ccache refuses every source that uses a precompiled header.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${ccache_program})
endif()

# The JSON library and the standard headers that nearly every source reads take 4 of the 9 seconds that one costs.
# These are system headers only, so a precompiled one never goes stale.
function(zeroth_precompile target)
  target_precompile_headers(${target} PRIVATE <nlohmann/json.hpp> <algorithm> <filesystem> <functional> <map> <memory>
                            <span> <string> <vector>)
  # Read from a precompiled header, std::string is no longer a system header to g++ 12, and its false alarms show.
  target_compile_options(${target} PRIVATE
    "$<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess;-Wno-array-bounds;-Wno-stringop-overflow;-Wno-stringop-overread>")
endfunction()
