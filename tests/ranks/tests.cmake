if(ZEROTH_GLOO AND TARGET test_ranks)
  target_compile_definitions(test_ranks PRIVATE ZEROTH_GLOO)
endif()
