# LibTorch as the oracle: every operator's forward and gradient against ATen and autograd.
if(ZEROTH_TORCH_ORACLE)
  add_executable(test_oracle ${CMAKE_CURRENT_LIST_DIR}/ops_oracle_test.cc ${CMAKE_CURRENT_LIST_DIR}/training_oracle_test.cc
                 ${CMAKE_CURRENT_LIST_DIR}/../main.cc)
  zeroth_compile_options(test_oracle)
  target_compile_options(test_oracle PRIVATE -O1 -g0)
  target_link_libraries(test_oracle PRIVATE zeroth_kernels doctest::doctest torch_oracle)
  target_precompile_headers(test_oracle PRIVATE <torch/torch.h>)
  foreach(stem ops_oracle_test training_oracle_test)
    add_test(NAME oracle/${stem} COMMAND test_oracle --source-file=*/${stem}.cc WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
    set_tests_properties(oracle/${stem} PROPERTIES TIMEOUT 600)
  endforeach()
endif()
