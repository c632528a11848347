# The binary as a user runs it.
foreach(script deep_json.sh demo.sh device.sh errors.sh hardening.sh help.sh ladder.sh pipeline.sh score.sh start_plugins.sh terminal.sh signals.sh stage_errors.sh)
  get_filename_component(stem ${script} NAME_WE)
  add_test(NAME cli/${stem} COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/${script} $<TARGET_FILE:zeroth>
           WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(cli/${stem} PROPERTIES TIMEOUT 900)
endforeach()

# Every command line of README.md and docs/.
add_test(NAME cli/documents COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/documents_test.py $<TARGET_FILE:zeroth>
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(cli/documents PROPERTIES TIMEOUT 1800)
