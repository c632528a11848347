# examples/loggers and examples/grafana: the follower by itself, then each tool by its own client. Those are skipped where their packages are not installed.
add_test(NAME loggers/follow COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/follow_test.py WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(loggers/follow PROPERTIES TIMEOUT 300)

foreach(tool wandb mlflow trackio)
  add_test(NAME loggers/${tool}
           COMMAND sh ${CMAKE_CURRENT_LIST_DIR}/loggers.sh ${tool} $<TARGET_FILE:zeroth> $<TARGET_FILE:inspect_make_run>
           WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(loggers/${tool} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 900)
endforeach()

# Every metric of the dashboard is served.
add_test(NAME loggers/grafana COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/grafana_test.py $<TARGET_FILE:zeroth>
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(loggers/grafana PROPERTIES TIMEOUT 900)
