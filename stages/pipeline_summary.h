// What the stages of a pipeline came to: the table that `zeroth pipeline` prints after every
// measurement and keeps as DIR/summary.md, and the same for the inspector, DIR/summary.json.
#pragma once

#include <span>
#include <string>

#include "core/json.h"

namespace zeroth {

// One measurement: the name of the model that was measured and what `zeroth eval --json` said.
struct StageResult {
  std::string name;
  Json result;
};

// A Markdown table whose columns stand under each other, a row a measurement: accuracy, format and
// language share in percent, mean tokens of all and of right samples, each with its 95% interval,
// the share of samples that the limit cut, and tokens a right answer. What a result lacks is "-".
std::string summary_table(std::span<const StageResult> results);

// [{"after", "measures": {"accuracy": {"mean", "ci95"}, ..}, "truncated", "tokens_per_correct"}, ..].
Json summary_json(std::span<const StageResult> results);

}  // namespace zeroth
