add_test(NAME rollout/sample_command
         COMMAND ${CMAKE_CURRENT_LIST_DIR}/sample.sh $<TARGET_FILE:zeroth>
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(rollout/sample_command PROPERTIES TIMEOUT 900)
