zeroth_fuzzer(rewards ${PROJECT_SOURCE_DIR}/fuzz/fuzz_rewards.cc zeroth_tasks)
zeroth_fuzzer(fences ${PROJECT_SOURCE_DIR}/fuzz/fuzz_fences.cc zeroth_tasks)
zeroth_fuzzer(rows ${PROJECT_SOURCE_DIR}/fuzz/fuzz_rows.cc zeroth_tasks)

# What the tests of plug-ins load and start; they find both in the build folder.
add_library(test_plugin MODULE ${CMAKE_CURRENT_LIST_DIR}/plugins/library.cc)
set_target_properties(test_plugin PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
target_include_directories(test_plugin PRIVATE ${PROJECT_SOURCE_DIR})
zeroth_compile_options(test_plugin)
add_library(test_group_plugin MODULE ${CMAKE_CURRENT_LIST_DIR}/plugins/group_library.cc)
set_target_properties(test_group_plugin PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
target_include_directories(test_group_plugin PRIVATE ${PROJECT_SOURCE_DIR})
zeroth_compile_options(test_group_plugin)
add_executable(test_plugin_host ${CMAKE_CURRENT_LIST_DIR}/plugins/host.cc)
zeroth_compile_options(test_plugin_host)
target_link_libraries(test_plugin_host PRIVATE zeroth_tasks)
add_dependencies(test_tasks test_plugin test_group_plugin test_plugin_host)
target_compile_definitions(test_tasks PRIVATE ZEROTH_BUILD_DIR="${PROJECT_BINARY_DIR}")

# examples/judge against a server of our own that speaks chat completions.
add_test(NAME tasks/judge_example COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/judge_example_test.py $<TARGET_FILE:zeroth>
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(tasks/judge_example PROPERTIES TIMEOUT 300)

# examples/verifiers; skipped where the package is not installed.
add_test(NAME tasks/verifiers_example COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/verifiers_example_test.py $<TARGET_FILE:zeroth>
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(tasks/verifiers_example PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 900)
