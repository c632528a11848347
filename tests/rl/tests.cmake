add_test(NAME rl/kill_resume
         COMMAND ${PROJECT_SOURCE_DIR}/tests/rl/kill_resume.sh $<TARGET_FILE:zeroth> 4
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(rl/kill_resume PROPERTIES TIMEOUT 900)
