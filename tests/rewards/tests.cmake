zeroth_fuzzer(math_parser ${PROJECT_SOURCE_DIR}/fuzz/fuzz_math_parser.cc zeroth_rewards)
zeroth_fuzzer(math_extract ${PROJECT_SOURCE_DIR}/fuzz/fuzz_math_extract.cc zeroth_rewards)

add_test(NAME rewards/hostile_code
         COMMAND ${CMAKE_CURRENT_LIST_DIR}/hostile_code.sh $<TARGET_FILE:zeroth>
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(rewards/hostile_code PROPERTIES TIMEOUT 900)

foreach(name mounts memory killed)
  add_test(NAME rewards/sandbox_${name}
           COMMAND ${CMAKE_CURRENT_LIST_DIR}/sandbox_${name}.sh $<TARGET_FILE:zeroth>
           WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(rewards/sandbox_${name} PROPERTIES TIMEOUT 900 SKIP_RETURN_CODE 77)
endforeach()
# These attacks press the whole machine, and a program that others disturb three times gets no verdict.
set_tests_properties(rewards/sandbox_memory PROPERTIES RUN_SERIAL ON)
