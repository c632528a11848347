zeroth_fuzzer(http ${PROJECT_SOURCE_DIR}/fuzz/fuzz_http.cc zeroth_net)
