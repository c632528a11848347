# Libraries from Debian 12 (scripts/setup installs them). Versions are the ones of that release.
find_package(Threads REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(SQLITE3 REQUIRED IMPORTED_TARGET sqlite3)
pkg_check_modules(SECCOMP REQUIRED IMPORTED_TARGET libseccomp)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib)
find_package(OpenSSL 3.0 REQUIRED)

# gloo connects the ranks of a run. Without it everything else builds, and several ranks are refused.
find_path(ZEROTH_GLOO_INCLUDE gloo/rendezvous/context.h)
find_library(ZEROTH_GLOO_LIBRARY gloo)
if(ZEROTH_GLOO_INCLUDE AND ZEROTH_GLOO_LIBRARY)
  set(ZEROTH_GLOO ON)
  add_library(zeroth_gloo INTERFACE IMPORTED)
  target_include_directories(zeroth_gloo SYSTEM INTERFACE ${ZEROTH_GLOO_INCLUDE})
  target_link_libraries(zeroth_gloo INTERFACE ${ZEROTH_GLOO_LIBRARY})
else()
  set(ZEROTH_GLOO OFF)
  message(STATUS "No gloo: zeroth trains in one process only; scripts/setup installs libgloo-dev")
endif()

find_path(DOCTEST_INCLUDE doctest/doctest.h)
if(DOCTEST_INCLUDE)
  add_library(doctest::doctest INTERFACE IMPORTED)
  target_include_directories(doctest::doctest SYSTEM INTERFACE ${DOCTEST_INCLUDE})
endif()

# The oracle of the operator tests: LibTorch as unpacked by scripts/setup --test. Own imported target, because the wheel's
# own config demands a CUDA toolkit even for the CPU.
if(ZEROTH_TORCH_ORACLE)
  set(ZEROTH_TORCH "${PROJECT_SOURCE_DIR}/.deps/torch-2.11.0" CACHE PATH "LibTorch folder (include/, lib/)")
  if(NOT EXISTS ${ZEROTH_TORCH}/lib/libtorch_cpu.so)
    message(FATAL_ERROR "No LibTorch in ${ZEROTH_TORCH}: run scripts/setup --test")
  endif()
  add_library(torch_oracle INTERFACE IMPORTED)
  target_include_directories(torch_oracle SYSTEM INTERFACE ${ZEROTH_TORCH}/include
                                                           ${ZEROTH_TORCH}/include/torch/csrc/api/include)
  target_link_libraries(torch_oracle INTERFACE ${ZEROTH_TORCH}/lib/libtorch_cpu.so ${ZEROTH_TORCH}/lib/libc10.so)
  target_link_options(torch_oracle INTERFACE -Wl,-rpath,${ZEROTH_TORCH}/lib)
endif()
