add_executable(grpo_step ${CMAKE_CURRENT_LIST_DIR}/grpo_step.cc)
zeroth_compile_options(grpo_step)
target_link_libraries(grpo_step PRIVATE zeroth_rl)
# Dense models, experts, latent attention, windows, clipping, tied embeddings: every fixture of every family.
add_test(NAME reference/grpo_step COMMAND grpo_step tests/data/parity tests/data/parity_variants
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(reference/grpo_step PROPERTIES TIMEOUT 300)
add_test(NAME reference/check_backends
         COMMAND sh ${CMAKE_CURRENT_LIST_DIR}/check_backends.sh $<TARGET_FILE:zeroth> WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(reference/check_backends PROPERTIES TIMEOUT 300)
