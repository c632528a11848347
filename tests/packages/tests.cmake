# Parquet files; skipped without the module (scripts/setup --parquet).
add_test(NAME packages/parquet COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/parquet_test.py $<TARGET_FILE:zeroth>
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(packages/parquet PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300)

add_test(NAME packages/presets COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/presets_test.py $<TARGET_FILE:zeroth>
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(packages/presets PROPERTIES TIMEOUT 900)
