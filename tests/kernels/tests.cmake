if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  add_test(NAME kernels/symbols COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/kernels/check_symbols.sh ${CMAKE_CXX_COMPILER}
                                        ${PROJECT_SOURCE_DIR})
endif()

# The device's kernels (kernels/cuda/) on the CPU: every CUDA thread is a fiber. g++ is told of ThreadSanitizer, so that
# it calls a function at each access of a kernel, but the functions are those of kernels/cuda/fibers/watch.cc: nothing is
# linked for it. A sanitized build would bring its own, and goes without these tests.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND NOT ZEROTH_SANITIZE AND NOT ZEROTH_TSAN AND NOT ZEROTH_FUZZ)
  set(cuda_folder ${PROJECT_SOURCE_DIR}/kernels/cuda)
  file(GLOB cuda_kernels CONFIGURE_DEPENDS ${cuda_folder}/*.cu ${CMAKE_CURRENT_LIST_DIR}/cuda_*.cu)
  file(GLOB cuda_tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/cuda_*.cc)
  set_source_files_properties(${cuda_kernels} PROPERTIES LANGUAGE CXX
                              COMPILE_OPTIONS "-O2;-fsanitize=thread;-Wno-unknown-pragmas")
  set_source_files_properties(${cuda_folder}/fibers/fibers.cc ${cuda_folder}/fibers/watch.cc PROPERTIES
                              COMPILE_OPTIONS "-O2")
  add_executable(test_cuda ${cuda_tests} ${cuda_kernels} ${cuda_folder}/fibers/fibers.cc ${cuda_folder}/fibers/watch.cc
                           ${PROJECT_SOURCE_DIR}/tests/main.cc)
  zeroth_compile_options(test_cuda)
  target_compile_options(test_cuda PRIVATE -O1 -Wno-missing-field-initializers)
  target_link_libraries(test_cuda PRIVATE zeroth_kernels doctest::doctest)
  foreach(source IN LISTS cuda_tests)
    get_filename_component(stem ${source} NAME_WE)
    add_test(NAME kernels/${stem} COMMAND test_cuda --source-file=*/${stem}.cc WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
    set_tests_properties(kernels/${stem} PROPERTIES TIMEOUT 900 LABELS unit)
  endforeach()
endif()
