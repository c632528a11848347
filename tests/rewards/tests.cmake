zeroth_fuzzer(math_parser ${PROJECT_SOURCE_DIR}/fuzz/fuzz_math_parser.cc zeroth_rewards)
zeroth_fuzzer(math_extract ${PROJECT_SOURCE_DIR}/fuzz/fuzz_math_extract.cc zeroth_rewards)
