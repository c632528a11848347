zeroth_fuzzer(rewards ${PROJECT_SOURCE_DIR}/fuzz/fuzz_rewards.cc zeroth_tasks)
zeroth_fuzzer(rows ${PROJECT_SOURCE_DIR}/fuzz/fuzz_rows.cc zeroth_tasks)
