add_test(NAME rollout/sample_command
         COMMAND ${CMAKE_CURRENT_LIST_DIR}/sample.sh $<TARGET_FILE:zeroth>
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(rollout/sample_command PROPERTIES TIMEOUT 900)
add_test(NAME rollout/serve
         COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/serve_test.py $<TARGET_FILE:zeroth>
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(rollout/serve PROPERTIES TIMEOUT 900)
# The same by the openai package, where it is installed.
add_test(NAME rollout/serve_openai
         COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/openai_test.py $<TARGET_FILE:zeroth>
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(rollout/serve_openai PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 900)
zeroth_fuzzer(fleet ${PROJECT_SOURCE_DIR}/fuzz/fuzz_fleet.cc zeroth_rollout)
zeroth_fuzzer(coordinator ${PROJECT_SOURCE_DIR}/fuzz/fuzz_coordinator.cc zeroth_rollout zeroth_net)
# The book of leases keeps its bounds with many workers that die, hang and come late (bench/).
add_test(NAME rollout/fleet_crowd COMMAND fleet_crowd 500 4)
# What docs/fleet.md points to: Slurm, Kubernetes, systemd.
add_test(NAME rollout/fleet_examples
         COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/fleet_examples.py $<TARGET_FILE:zeroth>
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
