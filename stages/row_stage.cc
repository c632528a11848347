#include "stages/row_stage.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "core/error.h"
#include "core/rng.h"
#include "core/sha256.h"
#include "model/formats/gguf_model.h"
#include "model/formats/provenance.h"
#include "stages/row_calls.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

// SHA-256 of the rows as they are learnt: a resumed run is only the same run with the same ones.
std::string rows_hash(const std::vector<PackedRow>& rows) {
  Sha256 hash;
  for (const PackedRow& row : rows) {
    for (const LearntRow& document : row) {
      const uint64_t tokens = document.tokens.size();
      hash.update(&tokens, sizeof tokens);
      hash.update(document.tokens.data(), tokens * sizeof(TokenId));
      hash.update(document.learnt.data(), tokens);
    }
    hash.update("row");
  }
  return hash.hex();
}

}  // namespace

RowOrder::RowOrder(int64_t rows, int64_t batch_rows, bool shuffle, uint64_t seed)
    : batch_rows_(batch_rows),
      batches_((rows + batch_rows - 1) / batch_rows),
      shuffle_(shuffle),
      seed_(seed),
      order_(static_cast<size_t>(rows)) {}

std::span<const int64_t> RowOrder::of_step(int64_t step) {
  if (step / batches_ != epoch_) {
    epoch_ = step / batches_;
    std::iota(order_.begin(), order_.end(), int64_t{0});
    Rng rng(seed_, static_cast<uint32_t>(epoch_));
    for (size_t i = order_.size(); shuffle_ && i > 1; --i) {
      std::swap(order_[i - 1], order_[rng.below(static_cast<uint32_t>(i))]);
    }
  }
  const auto begin = static_cast<size_t>(step % batches_ * batch_rows_);
  const size_t n = std::min(static_cast<size_t>(batch_rows_), order_.size() - begin);
  return std::span<const int64_t>(order_).subspan(begin, n);
}

bool RowCounts::keeps(bool kept, const std::string& place) {
  ++read;
  if (!kept && dropped++ == 0) first_dropped = place;
  return kept;
}

void RowCounts::check_some(const std::string& path, const std::string& none,
                           const std::string& kinds) const {
  if (read > dropped) return;
  fail(path + ": " + std::to_string(read) + " " + none,
       read > 0 ? "raise data.max_length, or look at " + first_dropped : kinds);
}

std::string count_line(const std::string& path, const RowCounts& counts, int64_t max_length) {
  std::string out = path + ": " + std::to_string(counts.read - counts.dropped) + " rows";
  if (counts.cut > 0) {
    out += ", " + std::to_string(counts.cut) + " cut to " + std::to_string(max_length) + " tokens";
  }
  if (counts.dropped > 0) {
    out += ", " + std::to_string(counts.dropped) +
           " left out with nothing to learn (the first: " + counts.first_dropped + ")";
  }
  return out + "\n";
}

const std::vector<std::string>& row_stage_free_fields() {
  static const std::vector<std::string> fields = {
      "epochs",    "device",     "micro_batch_tokens", "checkpoint_every",
      "keep_last", "keep_every", "print_every"};
  return fields;
}

RowStage::RowStage(const std::string& command, Json resolved, const RowStageConfig& config,
                   const RowsConfig& data, const std::optional<TrainingCheckpoint>& from)
    : config_(config),
      data_(data),
      tokenizer_(load_tokenizer(from ? from->folder : fs::path(config.model))),
      policy_(load_policy(config.lora, from ? from->folder : fs::path(config.model),
                          config.policy.element(), config.device.operators())),
      learner_(*policy_, config.optimizer, {}, nullptr,
               make_adapter(config.lora, *policy_, config.seed)),
      command_(command),
      resolved_(std::move(resolved)),
      before_(from ? stages_before(from->folder) : stages_of(config.model)),
      tokenizer_files_(read_tokenizer_files(*tokenizer_)) {
  check_vocabulary(*tokenizer_, policy_->config());
  if (learner_.low_rank() != nullptr)
    std::fputs(describe_update(*learner_.low_rank(), *policy_).c_str(), stderr);
}

void RowStage::adopt(std::vector<PackedRow> rows, std::vector<PackedRow> held_out,
                     const std::optional<TrainingCheckpoint>& from) {
  rows_ = std::move(rows);
  held_out_ = std::move(held_out);
  order_.emplace(static_cast<int64_t>(rows_.size()), config_.batch_rows, data_.shuffle,
                 config_.seed);
  rows_hash_ = rows_hash(rows_);
  if (!from) return;
  const auto before = from->state.at("rows_sha256").get<std::string>();
  if (before != rows_hash_) {
    fail("the rows are not those that this run began with (" + data_.path +
             ", SHA-256 of their tokens " + rows_hash_.substr(0, 12) + ".., before " +
             before.substr(0, 12) + "..)",
         "bring the file back, or start a new run from the checkpoint");
  }
  restore_trainer(*from, *policy_, learner_.optimizer(), nullptr, nullptr, learner_.low_rank());
  learner_.publish();
  num_tokens_ = from->state.at("num_tokens").get<int64_t>();
}

int64_t RowStage::row_length() const {
  const int64_t context = policy_->config().max_position;
  return data_.max_length > 0 ? std::min(data_.max_length, context) : context;
}

int64_t RowStage::steps() const {
  const double updates = config_.epochs * static_cast<double>(order_->batches());
  return std::max<int64_t>(1, static_cast<int64_t>(std::ceil(updates - 1e-9)));
}

void RowStage::add_measured(Json& row) {
  const Json measured = measure();
  for (const auto& [name, value] : measured.items()) row["eval/" + name] = value;
}

Json RowStage::update(int64_t step) {
  const bool last = step + 1 == steps();
  const int64_t every = config_.evaluation_every;
  const bool measured =
      !held_out_.empty() && (step == 0 || last || (every > 0 && step % every == 0));
  const std::span<const int64_t> rows = order_->of_step(step);
  Json before = Json::object();
  if (measured && !last) add_measured(before);
  learner_.begin();
  Json row = learn(rows);
  learner_.reduce();
  const double lr = learning_rate(config_.optimizer, step, steps());
  const double norm = learner_.step(lr);
  check_gradient(norm, step);
  learner_.publish();
  for (const int64_t index : rows) num_tokens_ += tokens_of(rows_[static_cast<size_t>(index)]);
  row.update(before);
  row["grad_norm"] = norm;
  row["learning_rate"] = lr;
  row["num_tokens"] = num_tokens_;
  row["epoch"] = static_cast<double>(step + 1) * config_.epochs / static_cast<double>(steps());
  if (measured && last) add_measured(row);
  return row;
}

CheckpointSource RowStage::checkpoint(int64_t step) {
  CheckpointSource source{*policy_, tokenizer_files_, learner_.optimizer()};
  source.state = {{"num_tokens", num_tokens_}, {"rows_sha256", rows_hash_}};
  source.files = files();
  source.files[kProvenanceFile] =
      provenance_text(before_, new_stage(command_, step, resolved_, row_stage_free_fields()));
  source.low_rank = learner_.low_rank();
  source.base = config_.model;
  return source;
}

void check_row_stage(const RowStageConfig& config, const RowsConfig& data,
                     const std::string& file) {
  if (config.model.empty() || data.path.empty()) {
    fail_usage(file + ": " + (config.model.empty() ? "model" : "data.path") + " is empty",
               config.model.empty() ? "name the folder of the checkpoint to start from"
                                    : "name the file with the rows");
  }
  if (!data.chat_variables.is_object()) {
    fail_usage(file + ": data.chat_variables is no object",
               "write variables for the chat template, {\"enable_thinking\": false}");
  }
  config.lora.check();
  if (config.epochs <= 0) {
    fail_usage(file + ": epochs = " + Json(config.epochs).dump() + " learns nothing",
               "set epochs to 1");
  }
}

}  // namespace zeroth
