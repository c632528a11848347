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
  set_source_files_properties(${cuda_kernels} ${cuda_planted} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "-Wno-unknown-pragmas")

  # Objects of the device's text, and of what runs it.
  function(zeroth_fiber_objects name)
    cmake_parse_arguments(ARG "" "" "SOURCES;OPTIONS;DEFINITIONS" ${ARGN})
    add_library(${name} OBJECT ${ARG_SOURCES})
    zeroth_compile_options(${name})
    target_compile_options(${name} PRIVATE ${ARG_OPTIONS})
    target_compile_definitions(${name} PRIVATE ${ARG_DEFINITIONS})
  endfunction()
  zeroth_fiber_objects(cuda_kernels SOURCES ${cuda_kernels} OPTIONS -O2 -fsanitize=thread)
  zeroth_fiber_objects(cuda_planted SOURCES ${cuda_planted} OPTIONS -O2 -fsanitize=thread)
  zeroth_fiber_objects(cuda_fibers SOURCES ${cuda_fibers} OPTIONS -O2)
  zeroth_fiber_objects(cuda_tests SOURCES ${cuda_tests} ${PROJECT_SOURCE_DIR}/tests/main.cc
                       OPTIONS -O1 -Wno-missing-field-initializers)
  target_link_libraries(cuda_tests PRIVATE doctest::doctest)

  # name: the program; suffix: of its tests.
  function(zeroth_fiber_test name suffix)
    cmake_parse_arguments(ARG "" "" "OBJECTS;LAUNCHER" ${ARGN})
    set(objects)
    foreach(part IN LISTS ARG_OBJECTS ITEMS cuda_tests)
      list(APPEND objects $<TARGET_OBJECTS:${part}>)
    endforeach()
    add_executable(${name} ${objects})
    set_target_properties(${name} PROPERTIES LINKER_LANGUAGE CXX)
    target_link_libraries(${name} PRIVATE zeroth_kernels)
    foreach(source IN LISTS cuda_tests)
      get_filename_component(stem ${source} NAME_WE)
      add_test(NAME kernels/${stem}${suffix} COMMAND ${ARG_LAUNCHER} $<TARGET_FILE:${name}> --source-file=*/${stem}.cc
               WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
      set_tests_properties(kernels/${stem}${suffix} PROPERTIES TIMEOUT 900 LABELS unit)
    endforeach()
  endfunction()
  zeroth_fiber_test(test_cuda "" OBJECTS cuda_kernels cuda_planted cuda_fibers)

  # The same tests, of fewer shapes, where ThreadSanitizer itself looks at the accesses, and AddressSanitizer
  # (kernels/cuda/fibers/sanitizers.h). The former's objects are those from above.
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    zeroth_fiber_objects(cuda_fibers_tsan SOURCES ${cuda_fibers} OPTIONS -O2 DEFINITIONS ZEROTH_FIBERS_TSAN)
    # Where the system puts memory farther apart than the runtime of g++ 12 expects.
    find_program(ZEROTH_SETARCH setarch)
    mark_as_advanced(ZEROTH_SETARCH)
    if(ZEROTH_SETARCH)
      execute_process(COMMAND ${ZEROTH_SETARCH} -R true RESULT_VARIABLE refused OUTPUT_QUIET ERROR_QUIET)
      if(NOT refused)
        set(fixed_addresses ${ZEROTH_SETARCH} -R)
      endif()
    endif()
    zeroth_fiber_test(test_cuda_tsan _tsan OBJECTS cuda_kernels cuda_planted cuda_fibers_tsan LAUNCHER ${fixed_addresses})
    target_link_options(test_cuda_tsan PRIVATE -fsanitize=thread)

    set(cuda_asan ${cuda_kernels} ${cuda_planted})
    list(FILTER cuda_asan EXCLUDE REGEX "/gpu_[a-z]*\\.cu$")  # no kernels there
    zeroth_fiber_objects(cuda_kernels_asan SOURCES ${cuda_asan}
                         OPTIONS -O1 -fsanitize=address -fsanitize-recover=address)
    zeroth_fiber_objects(cuda_fibers_asan SOURCES ${cuda_fibers} OPTIONS -O2 DEFINITIONS ZEROTH_FIBERS_ASAN)
    zeroth_fiber_test(test_cuda_asan _asan OBJECTS cuda_kernels_asan cuda_fibers_asan)
    target_link_options(test_cuda_asan PRIVATE -fsanitize=address)
  endif()
endif()

# What nvcc makes of them, where it is there; and whether the reader of that finds what it is for.
add_test(NAME kernels/cuda_code_reader COMMAND ${PROJECT_SOURCE_DIR}/scripts/cuda-code --self-test)
if(ZEROTH_CUDA)
  find_program(ZEROTH_CUOBJDUMP cuobjdump HINTS ${PROJECT_SOURCE_DIR}/.deps/cuda/bin)
  if(ZEROTH_CUOBJDUMP)
    add_test(NAME kernels/cuda_code COMMAND ${PROJECT_SOURCE_DIR}/scripts/cuda-code --cuobjdump ${ZEROTH_CUOBJDUMP}
                                            $<TARGET_FILE:zeroth_cuda>)
  else()
    message(STATUS "no cuobjdump beside nvcc: scripts/setup --cuda fetches one for the test kernels/cuda_code")
  endif()
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
