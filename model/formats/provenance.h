// How a checkpoint came to be: provenance.json beside its weights, {"stages": [..]}.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/json.h"

namespace zeroth {

inline constexpr const char* kProvenanceFile = "provenance.json";

// The stages that made the model at `path`, oldest first. Each is {"made_by": a command of Zeroth,
// "version", ..} with the facts of that command: the config of pretrain, train, sft and
// dpo, with the finished steps; of merge the stages of every model, as "lines": [[..], ..]. One
// {"made_by": "unknown", "model": path} where nothing is recorded; an adapter's are its base's.
// Empty for an empty path: random weights. Throws Error for a file that is damaged.
Json stages_of(const std::filesystem::path& path);
// Those that the run of a checkpoint began with: all but the last, its own.
Json stages_before(const std::filesystem::path& checkpoint);

// {"made_by", "version"}, to which a command adds its facts.
Json new_stage(const std::string& made_by);
// The same with "step" and "config": the resolved config without the fields of `free` (dotted names)
// other than "model", as they change no bit of the weights after a step, and without prompt.date.
Json new_stage(const std::string& made_by, int64_t step, Json config,
               const std::vector<std::string>& free);
// What provenance.json holds of a checkpoint that `stage` made after those `before`.
std::string provenance_text(Json before, Json stage);

// A line for every stage that learnt from given completions (sft, dpo), merged ones included: "sft
// on runs/rows.jsonl".
std::vector<std::string> supervised_stages(const Json& stages);
// The line of descent for a reader, oldest first: "sft of models/base on runs/rows.jsonl, 40 steps".
std::vector<std::string> describe_stages(const Json& stages);

}  // namespace zeroth
