# The same program twice: with the operators of kernels/, and with plain ones that take the place of every one of them
# (no member of the library that has an operator is linked then: a missing or a second definition fails the link). That
# whole models agree says that a second back end has to provide the operators and nothing else.
add_executable(grpo_step_cpu ${CMAKE_CURRENT_LIST_DIR}/grpo_step.cc)
add_executable(grpo_step_reference ${CMAKE_CURRENT_LIST_DIR}/grpo_step.cc ${CMAKE_CURRENT_LIST_DIR}/attention.cc
                                   ${CMAKE_CURRENT_LIST_DIR}/products.cc ${CMAKE_CURRENT_LIST_DIR}/rows.cc)
foreach(program grpo_step_cpu grpo_step_reference)
  zeroth_compile_options(${program})
  target_link_libraries(${program} PRIVATE zeroth_rl)
endforeach()
# Dense models, experts, latent attention, windows, clipping, tied embeddings: every fixture of every family.
add_test(NAME reference/grpo_step
         COMMAND sh ${CMAKE_CURRENT_LIST_DIR}/compare.sh $<TARGET_FILE:grpo_step_cpu> $<TARGET_FILE:grpo_step_reference>
                 tests/data/parity tests/data/parity_variants
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(reference/grpo_step PROPERTIES TIMEOUT 300)
