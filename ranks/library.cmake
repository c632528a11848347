if(ZEROTH_GLOO)
  target_link_libraries(${target} PRIVATE zeroth_gloo)
  target_compile_definitions(${target} PRIVATE ZEROTH_GLOO)
endif()
