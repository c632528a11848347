#include "stages/sft.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "rl/run_folder.h"
#include "stages/row_calls.h"
#include "stages/row_stage.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

// Leaves out rows with nothing to learn. Of a row alone the first token is not: nothing precedes it.
void leave_out(EncodedRows& rows, bool packed) {
  const auto idle = [&](const LearntRow& row) {
    return packed ? std::count(row.learnt.begin(), row.learnt.end(), 1) == 0 : row.targets() == 0;
  };
  const auto left_out = static_cast<int64_t>(std::erase_if(rows.rows, idle));
  if (rows.counts.dropped == 0) rows.counts.first_dropped = rows.first_without;
  rows.counts.dropped += left_out;
}

class SftStage : public RowStage {
 public:
  SftStage(const SftConfig& config, const std::optional<TrainingCheckpoint>& from)
      : RowStage("sft", resolved(config), config, config.data, from),
        config_(config),
        loss_(sft_loss(config.loss)) {
    const SftDataConfig& data = config.data;
    const RowEncoder encoder(data, data.loss_on, config.prompt, *tokenizer_);
    const int64_t length = row_length();
    const bool packed = data.packing != "none";
    EncodedRows rows = read_sft_rows(data.path, encoder, packed ? 0 : length, data.truncation);
    leave_out(rows, packed);
    report_ = count_line(data.path, rows.counts, length);
    const PromptEncoder prompts(*tokenizer_, config.prompt.bos);
    report_ += prompts.report("row 0", rows.rows.front().tokens);
    std::vector<PackedRow> learnt = pack_rows(std::move(rows.rows), data.packing, length);
    std::erase_if(learnt, [](const PackedRow& row) { return targets_of(row) == 0; });
    if (learnt.empty()) {
      fail(data.path + ": nothing is left to learn once rows are cut to " + std::to_string(length) +
               " tokens",
           "raise data.max_length");
    }
    if (packed) {
      report_ += "packed (" + data.packing + ") into " + std::to_string(learnt.size()) + " rows\n";
    }
    std::vector<PackedRow> held_out;
    if (!data.held_out.empty()) {
      EncodedRows more = read_sft_rows(data.held_out, encoder, length, data.truncation);
      leave_out(more, false);
      report_ += count_line(data.held_out, more.counts, length);
      held_out = pack_rows(std::move(more.rows), "none", 0);
    }
    adopt(std::move(learnt), std::move(held_out), from);
  }

 private:
  Json learn(std::span<const int64_t> rows) override {
    std::vector<const PackedRow*> batch;
    for (const int64_t index : rows) batch.push_back(&rows_[static_cast<size_t>(index)]);
    const SftLossSum sum = sft_loss_of(learner_, batch, loss_, config_.micro_batch_tokens,
                                       config_.router_aux_coef, true);
    return {{"loss", sum.total}, {"loss_tokens", sum.targets}};
  }

  Json measure() override {
    const SftLossSum sum = sft_loss_of(learner_, pointers(held_out_), SftLoss::kNll,
                                       config_.micro_batch_tokens, 0, false);
    return {{"loss", sum.total}};
  }

  const SftConfig& config_;
  SftLoss loss_;
};

}  // namespace

SftLoss sft_loss(const std::string& name) {
  if (name == "nll") return SftLoss::kNll;
  if (name == "dft") return SftLoss::kDft;
  fail_usage("loss = " + name + " is neither nll nor dft", "loss = nll");
}

SftLossSum sft_loss_of(Learner& learner, std::span<const PackedRow* const> rows, SftLoss loss,
                       int64_t micro_batch_tokens, double router_aux_coef, bool gradient) {
  SftLossSum sum;
  sum.documents.resize(static_cast<size_t>(documents_of(rows)));
  for (const PackedRow* row : rows) sum.targets += targets_of(*row);
  if (sum.targets == 0) fail("no token of these rows is learnt", "raise data.max_length");
  const std::vector<RowCall> calls = lay_calls(rows, micro_batch_tokens);
  int64_t responses = 0;
  for (const RowCall& call : calls) responses += call.batch.responses();
  std::vector<float> logprob, dlogprob;
  Scorer scorer;
  const double share = 1.0 / static_cast<double>(sum.targets);
  for (const RowCall& call : calls) {
    logprob.resize(call.batch.target.size());
    dlogprob.assign(logprob.size(), 0.0f);
    if (gradient) {
      learner.forward(call.batch, logprob.data(), nullptr);
    } else {
      score_call(scorer, *learner.policy().weights(), call, logprob);
    }
    for (size_t i = 0; i < logprob.size(); ++i) {
      if (!call.learnt[i]) continue;
      const double weight = loss == SftLoss::kDft ? std::exp(static_cast<double>(logprob[i])) : 1.0;
      sum.documents[call.document[i]] -= share * weight * static_cast<double>(logprob[i]);
      dlogprob[i] = static_cast<float>(-share * weight);
    }
    if (gradient) {
      learner.accumulate(call.batch, dlogprob.data(), nullptr, {router_aux_coef, responses});
    }
  }
  for (const double document : sum.documents) sum.total += document;
  return sum;
}

SftConfig read_sft_config(const fs::path& file, const std::vector<std::string>& overrides) {
  SftConfig config;
  load_config(config, read_config_file(file), file.string());
  for (const std::string& assignment : overrides) override_config(config, assignment);
  check_row_stage(config, config.data, file.string());
  return config;
}

StageSummary sft(const SftConfig& config, const fs::path& folder, bool resume,
                 const std::atomic<bool>* stop,
                 const std::function<void(int64_t, int64_t)>& progress) {
  return run_row_stage<SftStage>("sft", config, read_sft_config, folder, resume, stop, progress);
}

}  // namespace zeroth
