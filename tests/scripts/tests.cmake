# The gates of scripts/ go red on what they are there for.
add_test(NAME scripts/gates COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/gates_test.sh WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(scripts/gates PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)
