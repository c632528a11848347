if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  add_test(NAME kernels/symbols COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/kernels/check_symbols.sh ${CMAKE_CXX_COMPILER}
                                        ${PROJECT_SOURCE_DIR})
endif()

# The device's kernels and back end (kernels/cuda/) on the CPU: every CUDA thread is a fiber. g++ is told of
# ThreadSanitizer, so that it calls a function at each access of a kernel, but the functions are those of
# kernels/cuda/fibers/watch.cc: nothing is linked for it. A sanitized build would bring its own, and goes without these
# tests.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND NOT ZEROTH_SANITIZE AND NOT ZEROTH_TSAN AND NOT ZEROTH_FUZZ)
  set(cuda_folder ${PROJECT_SOURCE_DIR}/kernels/cuda)
  file(GLOB cuda_kernels CONFIGURE_DEPENDS ${cuda_folder}/*.cu)
  file(GLOB cuda_planted CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/cuda_*.cu)
  file(GLOB cuda_fibers CONFIGURE_DEPENDS ${cuda_folder}/fibers/*.cc)
  file(GLOB cuda_tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/cuda_*.cc)
  set_source_files_properties(${cuda_kernels} ${cuda_planted} PROPERTIES LANGUAGE CXX
                              COMPILE_OPTIONS "-O2;-fsanitize=thread;-Wno-unknown-pragmas")
  set_source_files_properties(${cuda_fibers} PROPERTIES COMPILE_OPTIONS "-O2")
  add_library(cuda_fibers OBJECT ${cuda_kernels} ${cuda_fibers})
  zeroth_compile_options(cuda_fibers)
  target_compile_options(cuda_fibers PRIVATE -O1)
  add_executable(test_cuda ${cuda_tests} ${cuda_planted} ${PROJECT_SOURCE_DIR}/tests/main.cc)
  zeroth_compile_options(test_cuda)
  target_compile_options(test_cuda PRIVATE -O1 -Wno-missing-field-initializers)
  target_link_libraries(test_cuda PRIVATE cuda_fibers zeroth_kernels doctest::doctest)
  foreach(source IN LISTS cuda_tests)
    get_filename_component(stem ${source} NAME_WE)
    add_test(NAME kernels/${stem} COMMAND test_cuda --source-file=*/${stem}.cc WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
    set_tests_properties(kernels/${stem} PROPERTIES TIMEOUT 900 LABELS unit)
  endforeach()
endif()

# What nvcc makes of them, where it is there; and whether the reader of that finds what it is for.
add_test(NAME kernels/cuda_code_reader COMMAND ${PROJECT_SOURCE_DIR}/scripts/cuda-code --self-test)
if(ZEROTH_CUDA)
  find_program(ZEROTH_CUOBJDUMP cuobjdump HINTS ${PROJECT_SOURCE_DIR}/.deps/cuda/bin REQUIRED)
  add_test(NAME kernels/cuda_code COMMAND ${PROJECT_SOURCE_DIR}/scripts/cuda-code --cuobjdump ${ZEROTH_CUOBJDUMP}
                                          $<TARGET_FILE:zeroth_cuda>)
  # The same tests on a GPU, where there is one; they are skipped where there is none.
  find_package(CUDAToolkit REQUIRED)
  file(GLOB device_tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/cuda_*.cc)
  list(FILTER device_tests EXCLUDE REGEX "cuda_faults")
  add_executable(test_cuda_device ${device_tests} ${CMAKE_CURRENT_LIST_DIR}/device_main.cc)
  zeroth_compile_options(test_cuda_device)
  target_compile_definitions(test_cuda_device PRIVATE ZEROTH_ON_DEVICE)
  target_compile_options(test_cuda_device PRIVATE -O1 -Wno-missing-field-initializers)
  target_link_libraries(test_cuda_device PRIVATE zeroth_cuda zeroth_kernels doctest::doctest CUDA::cudart_static)
  set_target_properties(test_cuda_device PROPERTIES LINKER_LANGUAGE CXX)
  add_test(NAME kernels/cuda_device COMMAND test_cuda_device WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(kernels/cuda_device PROPERTIES TIMEOUT 900 SKIP_RETURN_CODE 77)
endif()
