// zeroth traces judge: asks a language model about stored traces and keeps what it says beside
// them.
#pragma once

#include <cstdint>
#include <string>

#include "inspect/judge.h"
#include "inspect/run_view.h"

namespace zeroth {

// Judges the samples that match `query` and were not judged by this model before, at most `limit`
// (0: all), appends to RUN/traces/judge.jsonl, and prints each and the counts by score. Returns the
// exit code; throws what Judge throws, with what was judged so far kept.
int judge_samples(RunView& view, const JudgeConfig& config, const std::string& query, int64_t limit,
                  bool json);

}  // namespace zeroth
