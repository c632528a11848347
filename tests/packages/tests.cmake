# What people install. Skipped where a tool that makes it is missing (patchelf, dpkg-dev, file, zstd).
foreach(kind deb archive wheel)
  add_test(NAME packages/${kind} COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/packages.sh ${kind} ${PROJECT_BINARY_DIR}
           WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(packages/${kind} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 900)
endforeach()

# What scripts/cross-arm64 built, by qemu-user. Skipped where either is missing.
add_test(NAME packages/arm64 COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/arm64.sh ${PROJECT_BINARY_DIR}
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(packages/arm64 PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 7200)

add_test(NAME packages/module COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/module_test.py $<TARGET_FILE:zeroth>
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(packages/module PROPERTIES TIMEOUT 900)

add_test(NAME packages/parquet COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/parquet_test.py $<TARGET_FILE:zeroth>
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(packages/parquet PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300)

add_test(NAME packages/parquet_large COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/parquet_large_test.py $<TARGET_FILE:zeroth>
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(packages/parquet_large PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)

add_test(NAME packages/presets COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/presets_test.py $<TARGET_FILE:zeroth>
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(packages/presets PROPERTIES TIMEOUT 900)
