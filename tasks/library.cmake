# Libraries of the shared-library carrier.
target_link_libraries(${target} PRIVATE ${CMAKE_DL_LIBS})

# The header of that carrier as a text, for `zeroth task new --lang so`.
file(READ ${PROJECT_SOURCE_DIR}/tasks/plugins/plugin_abi.h header)
set_property(DIRECTORY ${PROJECT_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
             ${PROJECT_SOURCE_DIR}/tasks/plugins/plugin_abi.h)
file(GENERATE OUTPUT ${PROJECT_BINARY_DIR}/generated/plugin_header.cc
     CONTENT "#include \"tasks/plugins/plugin_header.h\"\n\nconst char zeroth::kPluginHeader[] = R\"HEADER(${header})HEADER\";\n")
target_sources(${target} PRIVATE ${PROJECT_BINARY_DIR}/generated/plugin_header.cc)
