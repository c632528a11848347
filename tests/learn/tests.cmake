if(ZEROTH_GLOO AND TARGET test_learn)
  target_compile_definitions(test_learn PRIVATE ZEROTH_GLOO)
endif()
