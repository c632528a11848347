zeroth_fuzzer(safetensors ${PROJECT_SOURCE_DIR}/fuzz/fuzz_safetensors.cc zeroth_policy)
