zeroth_fuzzer(safetensors ${PROJECT_SOURCE_DIR}/fuzz/fuzz_safetensors.cc zeroth_model)
zeroth_fuzzer(gguf ${PROJECT_SOURCE_DIR}/fuzz/fuzz_gguf.cc zeroth_model)
