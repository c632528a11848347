zeroth_fuzzer(tokenizer ${PROJECT_SOURCE_DIR}/fuzz/fuzz_tokenizer.cc zeroth_text)
