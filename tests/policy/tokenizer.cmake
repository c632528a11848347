zeroth_fuzzer(tokenizer ${PROJECT_SOURCE_DIR}/fuzz/fuzz_tokenizer.cc zeroth_policy)
zeroth_fuzzer(gguf ${PROJECT_SOURCE_DIR}/fuzz/fuzz_gguf.cc zeroth_policy)
