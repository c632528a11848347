add_test(NAME rl/kill_resume
         COMMAND ${PROJECT_SOURCE_DIR}/tests/rl/kill_resume.sh $<TARGET_FILE:zeroth> 4
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(rl/kill_resume PROPERTIES TIMEOUT 900)
# The same with a curriculum, whose state must survive too, and with rewards for the shape of responses.
add_test(NAME rl/kill_resume_curriculum
         COMMAND ${PROJECT_SOURCE_DIR}/tests/rl/kill_resume.sh $<TARGET_FILE:zeroth> 3
                 curriculum.mode=prioritised shaping.repetition_weight=0.5 shaping.repetition_ngram=2
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(rl/kill_resume_curriculum PROPERTIES TIMEOUT 900)
# Programs, children of a plug-in and an inspector beside the trainer change nothing.
add_test(NAME rl/kill_resume_programs
         COMMAND ${PROJECT_SOURCE_DIR}/tests/rl/kill_resume.sh $<TARGET_FILE:zeroth> 3 --programs
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(rl/kill_resume_programs PROPERTIES TIMEOUT 900)
# What happens to RUN/checkpoints/latest between a stop and a resumption must not cost a checkpoint.
foreach(command train pretrain)
  add_test(NAME rl/lost_latest_${command}
           COMMAND ${PROJECT_SOURCE_DIR}/tests/rl/lost_latest.sh $<TARGET_FILE:zeroth> ${command}
           WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(rl/lost_latest_${command} PROPERTIES TIMEOUT 900)
endforeach()
