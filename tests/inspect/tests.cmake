# A made-up run for tests of the page and for measuring.
add_executable(inspect_make_run ${CMAKE_CURRENT_LIST_DIR}/make_run_main.cc ${CMAKE_CURRENT_LIST_DIR}/made_run.cc)
zeroth_compile_options(inspect_make_run)
target_link_libraries(inspect_make_run PRIVATE zeroth_inspect)
target_sources(test_inspect PRIVATE ${CMAKE_CURRENT_LIST_DIR}/made_run.cc)

# The real TensorBoard reads what we write, where its package is installed.
add_test(NAME inspect/tensorboard
         COMMAND sh ${CMAKE_CURRENT_LIST_DIR}/tensorboard.sh $<TARGET_FILE:inspect_make_run>
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(inspect/tensorboard PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300)

# What the scanners count on a thousand traces, against a count by Python that shares no code with them.
add_test(NAME inspect/reference_scan
         COMMAND sh ${CMAKE_CURRENT_LIST_DIR}/reference_scan.sh $<TARGET_FILE:inspect_make_run> $<TARGET_FILE:zeroth>
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(inspect/reference_scan PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300)

# A real run, trained on the spot, in a headless Chromium (skipped where there is none).
add_test(NAME inspect/page
         COMMAND sh ${CMAKE_CURRENT_LIST_DIR}/page_test.sh $<TARGET_FILE:inspect_make_run> $<TARGET_FILE:zeroth>
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(inspect/page PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 1200 RUN_SERIAL TRUE)

# Addresses, refusals, /metrics, live events, a trainer that is killed while the page is open.
add_test(NAME inspect/server
         COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/server_test.py $<TARGET_FILE:zeroth> $<TARGET_FILE:inspect_make_run>
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(inspect/server PROPERTIES TIMEOUT 900)

add_test(NAME inspect/judge
         COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/judge_test.py $<TARGET_FILE:zeroth> $<TARGET_FILE:inspect_make_run>
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(inspect/judge PROPERTIES TIMEOUT 300)

zeroth_fuzzer(trace_reader ${PROJECT_SOURCE_DIR}/fuzz/fuzz_trace_reader.cc zeroth_inspect)
zeroth_fuzzer(run_folder ${PROJECT_SOURCE_DIR}/fuzz/fuzz_run_folder.cc zeroth_inspect)
