zeroth_fuzzer(tokenizer ${PROJECT_SOURCE_DIR}/fuzz/fuzz_tokenizer.cc zeroth_text)
zeroth_fuzzer(jinja ${PROJECT_SOURCE_DIR}/fuzz/fuzz_jinja.cc zeroth_text)
