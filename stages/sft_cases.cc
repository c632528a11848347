#include "stages/sft_cases.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/files.h"
#include "model/formats/gguf_model.h"
#include "policy/policy.h"
#include "stages/row_calls.h"
#include "stages/sft.h"
#include "tasks/rows.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

// A difference that is NaN stays so.
void widen(double& largest, double got, double expected) {
  const double d = std::abs(got - expected) / std::max(std::abs(expected), 1e-3);
  if (!(d <= largest)) largest = d;
}

// TRL goes by the columns of the first row.
bool has_prompts(const std::string& path) {
  bool first = true, has = false;
  for_each_row(path, [&](const Json& row, const std::string&) {
    if (first) has = row.contains("prompt");
    first = false;
  });
  return has;
}

SftDataConfig data_of(const Json& set, const fs::path& folder) {
  const Json& options = set.at("options");
  SftDataConfig data;
  data.path = (folder / set.at("rows_file").get<std::string>()).string();
  const Json& completion_only = options.at("completion_only_loss");
  if (options.at("assistant_only_loss").get<bool>()) {
    data.loss_on = completion_only == false ? "turns" : "assistant";
  } else {
    data.loss_on = completion_only != false && has_prompts(data.path) ? "completion" : "all";
  }
  if (!options.at("max_length").is_null())
    data.max_length = options.at("max_length").get<int64_t>();
  data.truncation = options.at("truncation_mode").get<std::string>();
  if (options.at("packing").get<bool>())
    data.packing = options.at("packing_strategy").get<std::string>();
  return data;
}

std::string at_row(size_t row, const std::string& what) {
  return "row " + std::to_string(row) + ": " + what;
}

// The first difference between our packed rows and the recorded ones; empty: none.
std::string compare_rows(const std::vector<PackedRow>& ours, const Json& theirs) {
  if (ours.size() != theirs.size()) {
    return std::to_string(ours.size()) + " rows, expected " + std::to_string(theirs.size());
  }
  for (size_t r = 0; r < ours.size(); ++r) {
    std::vector<TokenId> ids;
    std::vector<int64_t> labels, lengths;
    for (const LearntRow& document : ours[r]) {
      lengths.push_back(static_cast<int64_t>(document.tokens.size()));
      for (size_t i = 0; i < document.tokens.size(); ++i) {
        ids.push_back(document.tokens[i]);
        labels.push_back(document.learnt[i] ? document.tokens[i] : -100);
      }
    }
    const Json& row = theirs[r];
    if (Json(ids) != row.at("input_ids")) return at_row(r, "other token ids: " + Json(ids).dump());
    if (Json(labels) != row.at("labels")) return at_row(r, "other labels: " + Json(labels).dump());
    if (row.contains("seq_lengths") && Json(lengths) != row.at("seq_lengths")) {
      return at_row(r, "other seq_lengths: " + Json(lengths).dump());
    }
  }
  return "";
}

void compare(const Json& set, const fs::path& folder, const Tokenizer& tokenizer, Policy& policy,
             SftCaseResult& result) {
  const SftDataConfig data = data_of(set, folder);
  const RowEncoder encoder(data, data.loss_on, PromptConfig{}, tokenizer);
  const bool packed = data.packing != "none";
  EncodedRows encoded =
      read_sft_rows(data.path, encoder, packed ? 0 : data.max_length, data.truncation);
  const std::vector<PackedRow> rows =
      pack_rows(std::move(encoded.rows), data.packing, data.max_length);
  result.difference = compare_rows(rows, set.at("rows"));

  Learner learner(policy, OptimizerConfig{});
  const std::vector<const PackedRow*> all = pointers(rows);
  learner.begin();
  const auto loss = sft_loss(set.at("options").at("loss_type").get<std::string>());
  const SftLossSum sum = sft_loss_of(learner, all, loss, 256, 0, true);
  double squares = 0;
  for (const float g : learner.reduce()) squares += static_cast<double>(g) * g;
  widen(result.grad_norm_difference, std::sqrt(squares), set.at("total_grad_norm").get<double>());

  const auto targets = set.at("num_target_tokens").get<int64_t>();
  if (result.difference.empty() && sum.targets != targets) {
    result.difference =
        std::to_string(sum.targets) + " learnt tokens, expected " + std::to_string(targets);
  }
  const auto batch = set.at("batch_size").get<size_t>();
  const Json& batches = set.at("micro_batch_losses");
  size_t document = 0;
  for (size_t b = 0; b < batches.size(); ++b) {
    double part = 0;
    for (size_t r = b * batch; r < std::min((b + 1) * batch, rows.size()); ++r) {
      for (size_t d = 0; d < rows[r].size(); ++d) part += sum.documents[document++];
    }
    widen(result.loss_difference, part, batches[b].get<double>());
  }
  widen(result.loss_difference, sum.total, set.at("loss").get<double>());
}

// Rows that are refused here are a difference of their set and not the end of the others.
SftCaseResult evaluate(const Json& set, const fs::path& folder, const Tokenizer& tokenizer,
                       Policy& policy) {
  SftCaseResult result;
  result.name = set.at("name").get<std::string>();
  try {
    compare(set, folder, tokenizer, policy, result);
  } catch (const Error& error) {
    if (result.difference.empty()) result.difference = std::string("refused: ") + error.what();
  }
  result.rows_equal = result.difference.empty();
  return result;
}

}  // namespace

std::vector<SftCaseResult> evaluate_sft_cases(const fs::path& folder) {
  const fs::path file = folder / "expected.json";
  const auto tokenizer = load_tokenizer(folder);
  const auto policy = Policy::load(folder);
  std::vector<SftCaseResult> results;
  try {
    const Json expected = read_json_file(file);
    for (const Json& set : expected.at("sets")) {
      results.push_back(evaluate(set, folder, *tokenizer, *policy));
    }
  } catch (const Json::exception& error) {
    fail(file.string() + ": " + error.what(), "see stages/sft_cases.h for the layout");
  }
  if (results.empty())
    fail(file.string() + " holds no set", "see stages/sft_cases.h for the layout");
  return results;
}

}  // namespace zeroth
