# The kernels of kernels/cuda/ by nvcc, as the static library zeroth_cuda. The toolkit is the one that scripts/setup --cuda
# unpacked into .deps/cuda, or what CMAKE_CUDA_COMPILER or the PATH names.
if(NOT ZEROTH_CUDA)
  return()
endif()
set(ZEROTH_CUDA_ARCHITECTURES 90 CACHE STRING "Compute capabilities to compile for, with PTX for later devices")
if(NOT CMAKE_CUDA_COMPILER AND EXISTS ${PROJECT_SOURCE_DIR}/.deps/cuda/bin/nvcc)
  set(CMAKE_CUDA_COMPILER ${PROJECT_SOURCE_DIR}/.deps/cuda/bin/nvcc)
endif()
set(CMAKE_CUDA_ARCHITECTURES ${ZEROTH_CUDA_ARCHITECTURES})
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
enable_language(CUDA)
# CMake 3.25 does not know that nvcc speaks C++20.
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
endif()
if(ccache_program)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${ccache_program})
endif()

find_package(CUDAToolkit REQUIRED)
file(GLOB cuda_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/kernels/cuda/*.cu)
add_library(zeroth_cuda STATIC ${cuda_sources})
# The host's half of the back end has no kernels: nvcc would read it three times.
set(cuda_host ${cuda_sources})
list(FILTER cuda_host INCLUDE REGEX "/gpu_[a-z]*\\.cu$")
set_source_files_properties(${cuda_host} PROPERTIES LANGUAGE CXX)
# The numeric contract: no multiply-add that the source does not name, in host code neither.
target_compile_options(zeroth_cuda PRIVATE
  "$<$<COMPILE_LANGUAGE:CUDA>:-O3;-fmad=false;-Xcompiler=-ffp-contract=off,-fno-fast-math>"
  "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Werror;-ffp-contract=off;-fno-fast-math>"
  "$<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-restrict;-Wno-maybe-uninitialized>")
target_compile_definitions(zeroth_cuda PRIVATE ZEROTH_NVIDIA)
target_include_directories(zeroth_cuda PUBLIC ${PROJECT_SOURCE_DIR})
target_link_libraries(zeroth_cuda PRIVATE CUDA::cudart_static)
