# examples/torch_reward with the LibTorch that the oracle of the operators has.
if(ZEROTH_TORCH_ORACLE)
  add_library(torch_reward MODULE ${PROJECT_SOURCE_DIR}/examples/torch_reward/reward.cc)
  set_target_properties(torch_reward PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
  add_executable(train_reward ${PROJECT_SOURCE_DIR}/examples/torch_reward/train_reward.cc)
  foreach(target torch_reward train_reward)
    zeroth_compile_options(${target})
    target_compile_options(${target} PRIVATE -O1 -g0)
    target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tasks/plugins)
    target_link_libraries(${target} PRIVATE torch_oracle nlohmann_json::nlohmann_json)
  endforeach()
  add_test(NAME examples/torch_reward
           COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/torch_reward.sh $<TARGET_FILE:zeroth> $<TARGET_FILE:torch_reward>
                   $<TARGET_FILE:train_reward>
           WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(examples/torch_reward PROPERTIES TIMEOUT 300)
endif()
