target_link_libraries(${target} PRIVATE PkgConfig::SQLITE3 PkgConfig::PCRE2)

# The page is part of the binary.
set(page_data ${CMAKE_CURRENT_BINARY_DIR}/generated/page_data.cc)
file(GLOB page_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/inspect/page/*)
add_custom_command(OUTPUT ${page_data}
                   COMMAND ${CMAKE_COMMAND} -DOUT=${page_data} -DFOLDER=${PROJECT_SOURCE_DIR}/inspect/page
                           -P ${PROJECT_SOURCE_DIR}/inspect/embed.cmake
                   DEPENDS ${page_sources} ${PROJECT_SOURCE_DIR}/inspect/embed.cmake
                   COMMENT "Embedding the inspector's page")
target_sources(${target} PRIVATE ${page_data})
