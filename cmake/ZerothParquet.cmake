# zeroth_parquet.so, which reads Parquet files by Apache Arrow. Debian 12 has neither Arrow nor another Parquet library;
# scripts/setup --parquet unpacks the libraries and headers of Arrow's own wheel into .deps/arrow. The program loads the
# module at run time and works without it.
set(ZEROTH_ARROW "${PROJECT_SOURCE_DIR}/.deps/arrow/pyarrow" CACHE PATH "Apache Arrow with Parquet (include/, lib*.so*)")
file(GLOB arrow_library ${ZEROTH_ARROW}/libarrow.so* ${ZEROTH_ARROW}/lib/libarrow.so*)
file(GLOB parquet_library ${ZEROTH_ARROW}/libparquet.so* ${ZEROTH_ARROW}/lib/libparquet.so*)
if(NOT arrow_library OR NOT parquet_library)
  message(STATUS "No Apache Arrow: Parquet files are refused; scripts/setup --parquet fetches it")
  return()
endif()
list(GET arrow_library 0 arrow_library)
list(GET parquet_library 0 parquet_library)
add_library(zeroth_parquet MODULE ${PROJECT_SOURCE_DIR}/parquet/parquet_module.cc)
set_target_properties(zeroth_parquet PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}
                      CXX_VISIBILITY_PRESET hidden INSTALL_RPATH "$ORIGIN:$ORIGIN/../../../../pyarrow" BUILD_RPATH ${ZEROTH_ARROW})
target_compile_options(zeroth_parquet PRIVATE -Wall -Wextra -Werror)
target_include_directories(zeroth_parquet PRIVATE ${PROJECT_SOURCE_DIR})
target_include_directories(zeroth_parquet SYSTEM PRIVATE ${ZEROTH_ARROW}/include)
target_link_libraries(zeroth_parquet PRIVATE ${parquet_library} ${arrow_library} nlohmann_json::nlohmann_json)
# Only where asked for by name (scripts/package): the wheel takes the module and finds Arrow beside itself, in pyarrow.
install(TARGETS zeroth_parquet LIBRARY DESTINATION lib/zeroth COMPONENT parquet EXCLUDE_FROM_ALL)
install(FILES ${arrow_library} ${parquet_library} DESTINATION lib/zeroth COMPONENT arrow EXCLUDE_FROM_ALL)
