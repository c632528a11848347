zeroth_fuzzer(safetensors ${PROJECT_SOURCE_DIR}/fuzz/fuzz_safetensors.cc zeroth_policy)
include(${CMAKE_CURRENT_LIST_DIR}/tokenizer.cmake)
