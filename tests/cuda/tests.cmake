# Whole models by the back end of a GPU (kernels/cuda/gpu_operators.h) against the CPU: over fibers
# everywhere (tests/kernels/tests.cmake), and on a GPU where nvcc is there and there is one.
add_library(cublas_stand_in MODULE ${CMAKE_CURRENT_LIST_DIR}/cublas_stand_in.cc)
function(zeroth_gpu_test name)
  cmake_parse_arguments(ARG "" "" "LIBRARIES;DEFINITIONS;SOURCES" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/cuda/*_test.cc)
  add_executable(${name} ${sources} ${ARG_SOURCES})
  zeroth_compile_options(${name})
  target_compile_definitions(${name} PRIVATE ${ARG_DEFINITIONS}
                             ZEROTH_CUBLAS_STAND_IN="$<TARGET_FILE:cublas_stand_in>")
  add_dependencies(${name} cublas_stand_in)
  target_compile_options(${name} PRIVATE -O1 -Wno-missing-field-initializers)
  target_link_libraries(${name} PRIVATE ${ARG_LIBRARIES} zeroth_rl doctest::doctest)
  foreach(source IN LISTS sources)
    get_filename_component(stem ${source} NAME_WE)
    add_test(NAME cuda/${name}/${stem} COMMAND ${name} --source-file=*/${stem}.cc
             WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
    set_tests_properties(cuda/${name}/${stem} PROPERTIES TIMEOUT 900 LABELS unit SKIP_RETURN_CODE 77)
  endforeach()
endfunction()

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND NOT ZEROTH_SANITIZE AND NOT ZEROTH_TSAN AND NOT ZEROTH_FUZZ)
  zeroth_gpu_test(test_cuda_models LIBRARIES cuda_kernels cuda_fibers SOURCES ${PROJECT_SOURCE_DIR}/tests/main.cc)
endif()
# The program with a GPU of fibers: its own objects, and kernels/back_ends.cc once more, with CUDA.
if(TARGET test_cuda_models)
  add_executable(zeroth_fibers $<TARGET_OBJECTS:zeroth> ${PROJECT_SOURCE_DIR}/kernels/back_ends.cc)
  zeroth_compile_options(zeroth_fibers)
  target_compile_definitions(zeroth_fibers PRIVATE ZEROTH_CUDA)
  target_link_libraries(zeroth_fibers PRIVATE cuda_kernels cuda_fibers ${program_libraries})
  set_target_properties(zeroth_fibers PROPERTIES OUTPUT_NAME zeroth RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/fibers)
  add_test(NAME cuda/commands COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/commands.sh $<TARGET_FILE:zeroth>
           $<TARGET_FILE:zeroth_fibers> WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(cuda/commands PROPERTIES TIMEOUT 900)
endif()
if(ZEROTH_CUDA)
  find_package(CUDAToolkit REQUIRED)
  zeroth_gpu_test(test_cuda_models_device DEFINITIONS ZEROTH_ON_DEVICE LIBRARIES zeroth_cuda CUDA::cudart_static
                  SOURCES ${PROJECT_SOURCE_DIR}/tests/kernels/device_main.cc)
  set_target_properties(test_cuda_models_device PROPERTIES LINKER_LANGUAGE CXX)
endif()
