# One source compiled once per instruction set into a namespace of its own; kernels/dispatch.cc chooses at run time.
if(NOT ZEROTH_SANITIZE AND NOT ZEROTH_TSAN)
  target_compile_options(${target} PRIVATE -O3)
endif()
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set_source_files_properties(${PROJECT_SOURCE_DIR}/kernels/cpu/avx2.cc PROPERTIES COMPILE_OPTIONS
    "-mavx2;-mfma")
  set(avx512_flags -mavx512f -mavx512dq -mavx512bw -mavx512vl -mfma -mprefer-vector-width=512)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # g++ 12 takes the undefined inputs inside its own intrinsics for mistakes.
    list(APPEND avx512_flags -Wno-uninitialized -Wno-maybe-uninitialized)
  endif()
  set_source_files_properties(${PROJECT_SOURCE_DIR}/kernels/cpu/avx512.cc PROPERTIES COMPILE_OPTIONS
    "${avx512_flags}")
  target_compile_definitions(${target} PRIVATE ZEROTH_X86_64)
  set(foreign_kernels neon)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  target_compile_definitions(${target} PRIVATE ZEROTH_AARCH64)
  set(foreign_kernels avx)
else()
  set(foreign_kernels "avx|neon")
endif()
get_target_property(all_sources ${target} SOURCES)
list(FILTER all_sources EXCLUDE REGEX "kernels/cpu/(${foreign_kernels})")
set_target_properties(${target} PROPERTIES SOURCES "${all_sources}")
# A GPU's back end: nvcc's archive calls functions of this library, which it names once more. As files, so that nothing is
# linked by nvcc, and no other source is compiled by another command than without CUDA: the CPU's code is the same.
if(ZEROTH_CUDA)
  find_package(CUDAToolkit REQUIRED)
  set_source_files_properties(${PROJECT_SOURCE_DIR}/kernels/back_ends.cc PROPERTIES COMPILE_DEFINITIONS ZEROTH_CUDA)
  target_link_libraries(${target} INTERFACE $<TARGET_FILE:zeroth_cuda> $<TARGET_FILE:${target}>
                        $<TARGET_FILE:CUDA::cudart_static> ${CMAKE_DL_LIBS} rt)
  add_dependencies(${target} zeroth_cuda)
endif()
