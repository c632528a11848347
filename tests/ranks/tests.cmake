if(ZEROTH_GLOO AND TARGET test_ranks)
  target_compile_definitions(test_ranks PRIVATE ZEROTH_GLOO)
endif()
zeroth_fuzzer(ranks ${PROJECT_SOURCE_DIR}/fuzz/fuzz_ranks.cc zeroth_ranks)
