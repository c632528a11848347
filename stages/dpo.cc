#include "stages/dpo.h"

#include <cstring>

#include "core/error.h"
#include "core/files.h"
#include "rl/run_folder.h"
#include "stages/row_calls.h"
#include "stages/row_stage.h"
#include "stages/sft_rows.h"
#include "tasks/rows.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

constexpr const char* kReferenceFile = "reference_logprobs.bin";
constexpr const char* kPairKinds =
    "a row holds \"prompt\", \"chosen\" and \"rejected\" (all texts or all lists of messages), or "
    "\"chosen\" and \"rejected\" as lists of messages that begin alike";

// A pair is a packed row of two documents: chosen, rejected.
struct Pairs {
  std::vector<PackedRow> rows;
  RowCounts counts;
};

// The row as {"prompt", "chosen", "rejected"}.
Json with_prompt(const Json& row, const std::string& place) {
  if (!row.contains("chosen") || !row.contains("rejected")) {
    fail(place + ": a pair lacks \"chosen\" or \"rejected\"", kPairKinds);
  }
  const Json& chosen = row.at("chosen");
  const Json& rejected = row.at("rejected");
  if (row.contains("prompt") && !row.at("prompt").is_null()) {
    const Json& prompt = row.at("prompt");
    const bool texts = prompt.is_string() && chosen.is_string() && rejected.is_string();
    const bool lists = prompt.is_array() && chosen.is_array() && rejected.is_array();
    if (texts || lists) return row;
    fail(place + ": \"prompt\", \"chosen\" and \"rejected\" are neither all texts nor all lists",
         kPairKinds);
  }
  if (!chosen.is_array() || !rejected.is_array()) {
    fail(place + ": a pair of texts lacks \"prompt\"", kPairKinds);
  }
  size_t alike = 0;
  while (alike < chosen.size() && alike < rejected.size() && chosen[alike] == rejected[alike]) {
    ++alike;
  }
  Json out = row;
  out["prompt"] = Json::array();
  for (const char* side : {"chosen", "rejected"}) out[side] = Json::array();
  for (size_t i = 0; i < chosen.size(); ++i)
    out[i < alike ? "prompt" : "chosen"].push_back(chosen[i]);
  for (size_t i = alike; i < rejected.size(); ++i) out["rejected"].push_back(rejected[i]);
  return out;
}

Pairs read_pairs(const std::string& path, const RowEncoder& encoder, int64_t max_length,
                 const std::string& truncation) {
  Pairs out;
  for_each_row(path, [&](const Json& json, const std::string& place) {
    const Json row = with_prompt(json, place);
    PackedRow pair;
    for (const char* side : {"chosen", "rejected"}) {
      Json one = row;
      one["completion"] = row.at(side);
      pair.push_back(encoder.encode(one, place + " (" + side + ")"));
      out.counts.cut += cut_row(pair.back(), max_length, truncation);
    }
    const bool both = pair[0].targets() > 0 && pair[1].targets() > 0;
    if (out.counts.keeps(both, place)) out.rows.push_back(std::move(pair));
  });
  out.counts.check_some(path, "pairs, none with tokens to compare", kPairKinds);
  return out;
}

// Log-probs of the learnt tokens of every document.
using Logprobs = std::vector<std::vector<float>>;

void take_logprobs(const RowCall& call, std::span<const float> logprob, Logprobs& out) {
  for (size_t i = 0; i < logprob.size(); ++i) {
    if (call.learnt[i]) out[call.document[i]].push_back(logprob[i]);
  }
}

// What a batch of pairs comes to.
struct PairSums {
  double loss = 0, reward_chosen = 0, reward_rejected = 0, accuracy = 0;
  int64_t tokens = 0;

  Json metrics(int64_t pairs) const {
    const auto n = static_cast<double>(pairs);
    return {{"loss", loss},
            {"rewards/chosen", reward_chosen / n},
            {"rewards/rejected", reward_rejected / n},
            {"rewards/margin", (reward_chosen - reward_rejected) / n},
            {"rewards/accuracy", accuracy / n}};
  }
};

class DpoStage : public RowStage {
 public:
  DpoStage(const DpoConfig& config, const std::optional<TrainingCheckpoint>& from)
      : RowStage("dpo", resolved(config), config, config.data, from), config_(config) {
    const RowEncoder encoder(config.data, "completion", config.prompt, *tokenizer_);
    const int64_t length = row_length();
    Pairs pairs = read_pairs(config.data.path, encoder, length, config.data.truncation);
    report_ = count_line(config.data.path, pairs.counts, length);
    const PromptEncoder prompts(*tokenizer_, config.prompt.bos);
    report_ += prompts.report("chosen row 0", pairs.rows.front()[0].tokens);
    Pairs held_out;
    if (!config.data.held_out.empty()) {
      held_out = read_pairs(config.data.held_out, encoder, length, config.data.truncation);
      report_ += count_line(config.data.held_out, held_out.counts, length);
    }
    adopt(std::move(pairs.rows), std::move(held_out.rows), from);
    if (from) {
      read_reference(from->folder / kReferenceFile);
    } else {
      reference_ = score(rows_);
      held_out_reference_ = score(held_out_);
    }
  }

 private:
  Json learn(std::span<const int64_t> rows) override {
    std::vector<const PackedRow*> batch;
    std::vector<const std::vector<float>*> reference;
    for (const int64_t index : rows) {
      batch.push_back(&rows_[static_cast<size_t>(index)]);
      for (int side = 0; side < 2; ++side) reference.push_back(&reference_[2 * index + side]);
    }
    const PairSums sums = run(batch, reference, true);
    Json row = sums.metrics(static_cast<int64_t>(rows.size()));
    row["loss_tokens"] = sums.tokens;
    return row;
  }

  Json measure() override {
    std::vector<const std::vector<float>*> reference;
    for (const auto& one : held_out_reference_) reference.push_back(&one);
    return run(pointers(held_out_), reference, false)
        .metrics(static_cast<int64_t>(held_out_.size()));
  }

  std::map<std::string, std::string> files() const override {
    std::string bytes;
    for (const Logprobs* all : {&reference_, &held_out_reference_}) {
      for (const auto& one : *all) {
        bytes.append(reinterpret_cast<const char*>(one.data()), one.size() * sizeof(float));
      }
    }
    return {{kReferenceFile, std::move(bytes)}};
  }

  // By the published weights.
  Logprobs score(const std::vector<PackedRow>& rows) {
    const auto all = pointers(rows);
    Logprobs out(static_cast<size_t>(documents_of(all)));
    Scorer scorer;
    std::vector<float> logprob;
    for (const RowCall& call : lay_calls(all, config_.micro_batch_tokens)) {
      score_call(scorer, *policy_->weights(), call, logprob);
      take_logprobs(call, logprob, out);
    }
    return out;
  }

  void read_reference(const fs::path& file) {
    const std::string bytes = read_file(file);
    size_t at = 0;
    for (auto [rows, out] :
         {std::pair{&rows_, &reference_}, std::pair{&held_out_, &held_out_reference_}}) {
      for (const PackedRow& row : *rows) {
        for (const LearntRow& document : row) {
          const auto tokens = static_cast<size_t>(document.targets());
          if (at + tokens * sizeof(float) > bytes.size()) {
            fail(file.string() + " holds " + std::to_string(bytes.size()) +
                     " bytes, fewer than these pairs need",
                 "bring data.held_out back as it was, or start a new run");
          }
          out->emplace_back(tokens);
          std::memcpy(out->back().data(), bytes.data() + at, tokens * sizeof(float));
          at += tokens * sizeof(float);
        }
      }
    }
  }

  PairSums run(const std::vector<const PackedRow*>& rows,
               const std::vector<const std::vector<float>*>& reference, bool gradient) {
    PairSums sums;
    const auto pairs = static_cast<int64_t>(rows.size());
    int64_t chosen_tokens = 0, responses = 0;
    for (const PackedRow* row : rows) {
      chosen_tokens += (*row)[0].targets();
      sums.tokens += targets_of(*row);
    }
    const std::vector<RowCall> calls = lay_calls(rows, config_.micro_batch_tokens);
    for (const RowCall& call : calls) responses += call.batch.responses();
    Logprobs logprobs(static_cast<size_t>(2 * pairs));
    std::vector<float> logprob, dlogprob;
    Scorer scorer;
    for (const RowCall& call : calls) {
      if (gradient) {
        logprob.resize(call.batch.target.size());
        learner_.forward(call.batch, logprob.data(), nullptr);
      } else {
        score_call(scorer, *policy_->weights(), call, logprob);
      }
      take_logprobs(call, logprob, logprobs);
      std::vector<std::vector<double>> grads(logprobs.size());
      for (int64_t p = call.first_row; p < call.first_row + call.rows; ++p) {
        PreferenceResult one = preference_loss(
            config_.loss,
            {logprobs[2 * p], logprobs[2 * p + 1], *reference[2 * p], *reference[2 * p + 1]}, pairs,
            chosen_tokens);
        sums.loss += one.loss;
        sums.reward_chosen += one.reward_chosen;
        sums.reward_rejected += one.reward_rejected;
        sums.accuracy += one.reward_chosen > one.reward_rejected;
        grads[2 * p] = std::move(one.grad_chosen);
        grads[2 * p + 1] = std::move(one.grad_rejected);
      }
      if (!gradient) continue;
      std::vector<size_t> next(grads.size(), 0);
      dlogprob.assign(logprob.size(), 0.0f);
      for (size_t i = 0; i < logprob.size(); ++i) {
        const int64_t d = call.document[i];
        if (call.learnt[i]) dlogprob[i] = static_cast<float>(grads[d][next[d]++]);
      }
      learner_.accumulate(call.batch, dlogprob.data(), nullptr,
                          {config_.router_aux_coef, responses});
    }
    return sums;
  }

  const DpoConfig& config_;
  Logprobs reference_, held_out_reference_;  // [documents]
};

}  // namespace

DpoConfig read_dpo_config(const fs::path& file, const std::vector<std::string>& overrides) {
  DpoConfig config;
  load_config(config, read_config_file(file), file.string());
  for (const std::string& assignment : overrides) override_config(config, assignment);
  check_row_stage(config, config.data, file.string());
  return config;
}

StageSummary dpo(const DpoConfig& config, const fs::path& folder, bool resume,
                 const std::atomic<bool>* stop,
                 const std::function<void(int64_t, int64_t)>& progress) {
  return run_row_stage<DpoStage>("dpo", config, read_dpo_config, folder, resume, stop, progress);
}

}  // namespace zeroth
