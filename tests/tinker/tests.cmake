# The protocol by a client of the standard library, and by the public one where it is installed (scripts/setup --tinker).
add_test(NAME tinker/protocol COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/protocol_test.py $<TARGET_FILE:zeroth>
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(tinker/protocol PROPERTIES TIMEOUT 900)
add_test(NAME tinker/client COMMAND sh ${CMAKE_CURRENT_LIST_DIR}/client.sh $<TARGET_FILE:zeroth>
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(tinker/client PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 900)
zeroth_fuzzer(tinker ${PROJECT_SOURCE_DIR}/fuzz/fuzz_tinker.cc zeroth_tinker)
