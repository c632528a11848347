#include "rl/training_forward.h"

#include <algorithm>

#include "core/rng.h"
#include "model/image_codes.h"

namespace zeroth {
namespace {

// Of what sampling has kept so much is computed again: one row in so many, by whole samples with
// their prompts, ...
constexpr int64_t kSpotShare = 16;
// ... and so many log-probs of every call, from its last hidden states.
constexpr int64_t kSpotRows = 64;
constexpr uint32_t kSpotStream = 0x73706f74;  // what picks the sample, apart from sampling's draws

}  // namespace

TrainingForward::TrainingForward(Learner& learner, const TrainerConfig& config, uint64_t seed,
                                 double temperature)
    : learner_(learner),
      policy_(learner.policy()),
      config_(config),
      seed_(seed),
      temperature_(temperature),
      store_(config.reuse_mb << 20),
      batch_(learner.policy().config().router.top_k) {}

// Of a call by the policy. Samples of these very weights need no replay: the routers choose what
// they chose then, and that they do shows that the record and the log-probs are right.
RoutingUse TrainingForward::routing_use(const SliceList& slices) const {
  if (!config_.router_replay) return RoutingUse::kCompare;
  const std::vector<VersionSegment> now = {{0, policy_.weights()->version()}};
  for (const GroupSlice& slice : slices) {
    for (const int32_t i : slice.samples) {
      if (groups_[slice.group].samples[i].versions != now) return RoutingUse::kReplay;
    }
  }
  return RoutingUse::kCompare;
}

bool TrainingForward::reuses() const {
  return config_.reuse_mb > 0 && !config_.recompute && policy_.first_trainable_layer() <= 0 &&
         !image_codes(policy_.config()).present();
}

void TrainingForward::begin(std::span<const Group> groups, const Tickets& tickets) {
  groups_ = groups;
  tickets_ = &tickets;
}

void TrainingForward::forget() {
  if (reuses()) store_.begin(*policy_.weights());
}

bool TrainingForward::forward(const SliceList& slices, int64_t turn, RouterStats& router) {
  batch_.build(groups_, slices, temperature_, *tickets_, routing_use(slices));
  logprobs_.resize(batch_.responses());
  entropies_.resize(batch_.responses());
  if (!recall(slices, turn, router)) {
    learner_.forward(batch_.targets(), logprobs_.data(), entropies_.data(), &router);
    return false;
  }
  recall_logprobs();
  learner_.score(batch_.targets(), std::min(batch_.responses(), kSpotRows), logprobs_.data(),
                 entropies_.data());
  return true;
}

// The rows' activations from the store; false when they are not all there.
bool TrainingForward::recall(const SliceList& slices, int64_t turn, RouterStats& router) {
  const std::span<const int32_t> rows = batch_.activation_rows(store_.epoch());
  if (rows.empty() || !reuses() || !store_.holds(*policy_.weights())) return false;
  compute_spot(slices, turn);
  learner_.recall(batch_.targets(), store_, rows, &router);
  return true;
}

// One sample of the call by a forward call of its own; not in every call when that would be more
// than its share of the rows.
void TrainingForward::compute_spot(const SliceList& slices, int64_t turn) {
  spot_slice_.samples.clear();
  int64_t samples = 0;
  for (const GroupSlice& slice : slices) samples += static_cast<int64_t>(slice.samples.size());
  Rng rng(StreamKey{seed_, static_cast<uint32_t>(turn), 0, kSpotStream});
  int64_t at = rng.below(static_cast<uint32_t>(samples));
  auto slice = slices.begin();
  for (; at >= static_cast<int64_t>(slice->samples.size()); ++slice) at -= slice->samples.size();
  const Group& group = groups_[slice->group];
  const Sample& sample = group.samples[slice->samples[at]];
  const auto rows = static_cast<int64_t>(group.prompt_tokens.size() + sample.tokens.size());
  const int64_t all = batch_.packed().rows();
  if (turn % ((kSpotShare * rows + all - 1) / all) != 0) return;
  spot_slice_ = {slice->group, {slice->samples[at]}};
  spot_.build(groups_, {spot_slice_}, temperature_);  // as the routers choose: a check of that, too
  score_alone(*policy_.weights(), spot_, spot_logprobs_, spot_entropies_);
}

// What sampling recorded, but for the sample that was computed again.
void TrainingForward::recall_logprobs() {
  for (const MicroBatch::Row& row : batch_.samples()) {
    const bool again = !spot_slice_.samples.empty() && row.group == spot_slice_.group &&
                       row.sample == spot_slice_.samples[0];
    const Sample& sample = groups_[row.group].samples[row.sample];
    std::copy_n(again ? spot_logprobs_.begin() : sample.logprobs.begin(), row.count,
                logprobs_.begin() + row.first);
    std::copy_n(again ? spot_entropies_.begin() : sample.entropies.begin(), row.count,
                entropies_.begin() + row.first);
  }
}

void TrainingForward::score(const Weights& weights, const SliceList& slices) {
  const bool own = weights.id() == policy_.weights()->id();
  batch_.build(groups_, slices, temperature_, {}, own ? routing_use(slices) : RoutingUse::kNone);
  score_alone(weights, batch_, logprobs_, entropies_);
}

void TrainingForward::score_alone(const Weights& weights, const MicroBatch& of,
                                  std::vector<float>& logprobs, std::vector<float>& entropies) {
  logprobs.resize(of.responses());
  entropies.resize(of.responses());
  scorer_.forward(weights, of.targets());
  scorer_.score(weights, of.targets(), of.responses(), logprobs.data(), entropies.data());
}

void TrainingForward::keep(ScoresBySample& scores) const {
  for (const MicroBatch::Row& row : batch_.samples()) {
    SampleScores& to = scores[row.group][row.sample];
    const auto values = logprobs(row), spread = entropies(row);
    to.logprobs.assign(values.begin(), values.end());
    to.entropies.assign(spread.begin(), spread.end());
  }
}

}  // namespace zeroth
