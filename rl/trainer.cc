#include "rl/trainer.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "core/interrupted.h"
#include "core/stopwatch.h"
#include "learn/learner.h"
#include "learn/tree_collective.h"
#include "rl/freeze.h"
#include "rl/micro_batch.h"
#include "rl/router_load.h"
#include "rl/shared_scores.h"

namespace zeroth {
namespace {

// Keeps these random blocks apart from the ones that sampling draws with the same seed.
constexpr uint32_t kShuffleStream = 0x73687566;

// Of what sampling has kept so much is computed again, so that the log-prob difference goes on to
// say whether training and sampling are one forward: one row in so many, by whole samples with
// their prompts, ...
constexpr int64_t kSpotShare = 16;
// ... and so many log-probs of every call, from its last hidden states.
constexpr int64_t kSpotRows = 64;
constexpr uint32_t kSpotStream = 0x73706f74;  // what picks the sample, apart from sampling's draws

// Indices of `groups` groups. Fisher-Yates; the order is a function of (seed, step, epoch).
std::vector<int32_t> dealt(size_t groups, uint64_t seed, int64_t step, int epoch, bool shuffle) {
  std::vector<int32_t> order(groups);
  std::iota(order.begin(), order.end(), 0);
  if (!shuffle) return order;
  Rng rng(
      StreamKey{seed, static_cast<uint32_t>(step), static_cast<uint32_t>(epoch), kShuffleStream});
  for (size_t i = order.size(); i > 1; --i)
    std::swap(order[i - 1], order[rng.below(static_cast<uint32_t>(i))]);
  return order;
}

int64_t loss_tokens(const Group& group) {
  int64_t tokens = 0;
  for (const Sample& sample : group.samples) {
    if (has_loss(sample)) tokens += static_cast<int64_t>(sample.tokens.size());
  }
  return tokens;
}

// A value for every sample, as [group][sample].
template <class T>
using BySample = std::vector<std::vector<T>>;

template <class T>
void reset(BySample<T>& values, std::span<const Group> groups) {
  values.assign(groups.size(), {});
  for (size_t g = 0; g < groups.size(); ++g) values[g].resize(groups[g].samples.size());
}

}  // namespace

struct Trainer::Impl {
  Policy& policy;
  std::unique_ptr<Policy> reference;
  TrainerConfig config;
  LossConfig loss;
  PolicyLoss policy_loss;
  OptimizerConfig schedule;
  uint64_t seed = 0;
  int64_t total_steps = 0, max_tokens = 0;
  double temperature = 1;
  Learner learner;
  ActivationStore store;
  RouterStats router;        // of the step
  RouterStats batch_router;  // of the update
  MicroBatch batch;
  MicroBatch spot;        // of the one sample that is computed again, ...
  GroupSlice spot_slice;  // ... which is this one; empty: none in this call
  Scorer scorer;          // of that sample, and of the reference
  std::vector<float> spot_logprob, spot_entropy;
  std::vector<float> logprob, entropy, dlogprob, dentropy;
  std::vector<double> gradient;
  // Of the step: what update() was given, ...
  std::span<const Group> groups;
  const Tickets* tickets = nullptr;
  WeightsVersion start_version = 0;  // of the weights
  bool older_weights = false;        // samples may be of versions before it
  // Of probabilities in training / sampling, over the first mini-batch's tokens.
  double ratio_sum = 0, ratio_squares = 0, ratio_tokens = 0;
  // ... log-probs under the reference, and under the policy at the step's start (loss.decoupled),
  // of every sample that has a loss, ...
  BySample<std::vector<float>> reference_logprobs, proximal_logprobs;
  // ... and tokens that top_entropy_quantile keeps.
  BySample<std::vector<uint8_t>> kept_tokens;

  // Of a step that several ranks share; null: this process is alone.
  Team* const team;
  StepReport own;         // what this rank counts of its part
  ScoresBySample scores;  // of every sample of the mini-batch

  Impl(Policy& p, std::unique_ptr<Policy> r, const TrainerConfig& c, const LossConfig& l,
       const OptimizerConfig& o, Team* t)
      : policy(p),
        reference(std::move(r)),
        config(c),
        loss(l),
        policy_loss(l),
        schedule(o),
        learner(
            with_frozen(p, c.freeze, c.train_router), o,
            {c.recompute ? Activations::Mode::kCheckpoint : Activations::Mode::kFull, c.branches},
            t != nullptr ? std::make_unique<TreeCollective>(*t) : nullptr),
        store(c.reuse_mb << 20),
        team(t) {
    if (c.router_bias_rate > 0 && !p.config().selection_bias) {
      fail_usage("trainer.router_bias_rate is set, but a " +
                     std::string(to_string(p.config().family)) + " model has no selection bias",
                 "set it to 0, or balance with trainer.router_aux_coef");
    }
  }

  // A constant group moves the weights only through the KL or the entropy bonus.
  bool has_signal(const Group& group) const {
    return (!group.zero_variance || loss.beta > 0 || loss.entropy_coef > 0) &&
           loss_tokens(group) > 0;
  }

  bool reuses() const {
    return config.reuse_mb > 0 && !config.recompute && policy.first_trainable_layer() <= 0;
  }

  // From the activations of sampling when they are there, else by a forward call.
  bool recall(const SliceList& slices, int64_t turn) {
    const std::span<const int32_t> rows = batch.activation_rows(store.epoch());
    if (rows.empty() || !reuses() || !store.holds(*policy.weights())) return false;
    compute_spot(slices, turn);
    learner.recall(batch.targets(), store, rows, &batch_router);
    return true;
  }

  const Sample& sample_of(const MicroBatch::Row& row) const {
    return groups[row.group].samples[row.sample];
  }

  // Log-probs and entropies of one sample of the call, by a forward call of its own; not in every
  // call when that would be more than its share of the rows.
  void compute_spot(const SliceList& slices, int64_t turn) {
    spot_slice.samples.clear();
    int64_t samples = 0;
    for (const GroupSlice& slice : slices) samples += static_cast<int64_t>(slice.samples.size());
    Rng rng(StreamKey{seed, static_cast<uint32_t>(turn), 0, kSpotStream});
    int64_t at = rng.below(static_cast<uint32_t>(samples));
    auto slice = slices.begin();
    for (; at >= static_cast<int64_t>(slice->samples.size()); ++slice) at -= slice->samples.size();
    const Group& group = groups[slice->group];
    const Sample& sample = group.samples[slice->samples[at]];
    const auto rows = static_cast<int64_t>(group.prompt_tokens.size() + sample.tokens.size());
    const int64_t all = batch.packed().rows();
    if (turn % ((kSpotShare * rows + all - 1) / all) != 0) return;
    spot_slice = {slice->group, {slice->samples[at]}};
    spot.build(groups, {spot_slice}, temperature);
    score_alone(*policy.weights(), spot, spot_logprob, spot_entropy);
  }

  // Log-probs and entropies of a batch that no backward follows.
  void score_alone(const Weights& weights, const MicroBatch& of, std::vector<float>& logprobs,
                   std::vector<float>& entropies) {
    logprobs.resize(of.responses());
    entropies.resize(of.responses());
    scorer.forward(weights, of.targets());
    scorer.score(weights, of.targets(), of.responses(), logprobs.data(), entropies.data());
  }

  // Log-probs and entropies of the slices, from sampling's activations where they are there;
  // backward may follow. Returns whether the rows were recalled. Which sample is computed again
  // depends on `turn`.
  bool forward(const SliceList& slices, int64_t turn) {
    batch.build(groups, slices, temperature, *tickets);
    logprob.resize(batch.responses());
    entropy.resize(batch.responses());
    if (!recall(slices, turn)) {
      learner.forward(batch.targets(), logprob.data(), entropy.data(), &batch_router);
      return false;
    }
    recall_logprobs();
    learner.score(batch.targets(), std::min(batch.responses(), kSpotRows), logprob.data(),
                  entropy.data());
    return true;
  }

  // What sampling recorded, but for the sample that was computed again.
  void recall_logprobs() {
    for (const MicroBatch::Row& row : batch.samples()) {
      const bool again = !spot_slice.samples.empty() && row.group == spot_slice.group &&
                         row.sample == spot_slice.samples[0];
      const Sample& sample = sample_of(row);
      std::copy_n(again ? spot_logprob.begin() : sample.logprobs.begin(), row.count,
                  logprob.begin() + row.first);
      std::copy_n(again ? spot_entropy.begin() : sample.entropies.begin(), row.count,
                  entropy.begin() + row.first);
    }
  }

  // Log-probs of every sample of the groups `order` under `of`, into `logprobs`.
  void score_samples(const Policy& of, std::span<const int32_t> order,
                     BySample<std::vector<float>>& logprobs) {
    reset(scores, groups);
    const auto leaves = plan_leaves(groups, order, config.leaf_tokens);
    const auto share = [&](int rank) -> LeafShare {
      const int size = team != nullptr ? team->size() : 1;
      return {leaves.size() * rank / size, leaves.size() * (rank + 1) / size};
    };
    const LeafShare mine = share(team != nullptr ? team->rank() : 0);
    const auto own_leaves = std::span(leaves).subspan(mine.begin, mine.end - mine.begin);
    for (const SliceList& slices : plan_calls(groups, own_leaves, config.micro_batch_tokens)) {
      if (cut_short()) break;
      batch.build(groups, slices, temperature);
      score_alone(*of.weights(), batch, logprob, entropy);
      keep_scores();
    }
    if (team != nullptr) {
      const auto texts = gather_scores(*team, "scores", leaves, mine, scores);
      check_stop(stop, "the update");
      take_scores(*team, texts, groups, leaves, share, scores);
    }
    reset(logprobs, groups);
    for (const GroupSlice& leaf : leaves) {
      for (const int32_t i : leaf.samples)
        logprobs[leaf.group][i] = std::move(scores[leaf.group][i].logprobs);
    }
  }

  // Of the samples of the last call.
  void keep_scores() {
    for (const MicroBatch::Row& row : batch.samples()) {
      SampleScores& to = scores[row.group][row.sample];
      to.logprobs.assign(logprob.begin() + row.first, logprob.begin() + row.first + row.count);
      to.entropies.assign(entropy.begin() + row.first, entropy.begin() + row.first + row.count);
    }
  }

  // Throws Interrupted when this process is alone and asked to stop; of several ranks, each goes on
  // to where all agree about it.
  bool cut_short() const {
    if (team != nullptr) return team->cut();
    check_stop(stop, "the update");
    return false;
  }

  // Keeps the share of highest entropy among the step's tokens, by the entropies of sampling (arXiv
  // 2506.01939).
  double choose_tokens(std::span<const int32_t> order) {
    reset(kept_tokens, groups);
    std::vector<float> all;
    const auto each = [&](const auto& use) {
      for (const int32_t g : order) {
        for (size_t i = 0; i < groups[g].samples.size(); ++i) {
          const Sample& sample = groups[g].samples[i];
          if (has_loss(sample)) use(sample, kept_tokens[g][i]);
        }
      }
    };
    each([&](const Sample& s, auto&) {
      all.insert(all.end(), s.entropies.begin(), s.entropies.end());
    });
    if (all.empty()) return 0;
    const float threshold = entropy_threshold(all, loss.top_entropy_quantile);
    double kept = 0;
    each([&](const Sample& s, std::vector<uint8_t>& keep) {
      for (float h : s.entropies) {
        keep.push_back(h >= threshold);
        kept += keep.back();
      }
    });
    return kept;
  }

  LossScope scope_of(std::span<const int32_t> order, double step_tokens) {
    LossScope scope;
    for (const int32_t g : order) {
      const std::vector<Sample>& samples = groups[g].samples;
      scope.tokens += static_cast<double>(loss_tokens(groups[g]));
      scope.samples += static_cast<double>(std::count_if(samples.begin(), samples.end(), has_loss));
    }
    scope.step_tokens = step_tokens / config.mini_batches;
    scope.max_tokens = static_cast<double>(max_tokens);
    scope.entropy_tokens = scope.tokens;
    if (loss.top_entropy_quantile < 1) scope.entropy_tokens = choose_tokens(order);
    return scope;
  }

  // A sample's loss, with its gradient in `gradient`, by its log-probs and entropies.
  void add_sample(const LossScope& scope, bool first, size_t group, size_t index,
                  std::span<const float> logprobs, std::span<const float> entropies,
                  StepReport& report) {
    const Sample& sample = groups[group].samples[index];
    SampleTerms terms;
    terms.logprob = logprobs;
    terms.old_logprob = loss.decoupled ? proximal_logprobs[group][index] : sample.logprobs;
    if (loss.decoupled) terms.sampler_logprob = sample.logprobs;
    terms.advantage = sample.advantage;
    if (loss.beta > 0) terms.ref_logprob = reference_logprobs[group][index];
    if (loss.top_entropy_quantile < 1) terms.keep = kept_tokens[group][index];
    gradient.resize(logprobs.size());
    const double loss_before = report.stats.loss;
    policy_loss.add(scope, terms, gradient, report.stats);
    TrainedSample& trained = report.trained[group][index];
    trained.logprobs.assign(terms.logprob.begin(), terms.logprob.end());
    trained.reference_logprobs.assign(terms.ref_logprob.begin(), terms.ref_logprob.end());
    trained.loss = report.stats.loss - loss_before;
    const bool compared = first && !(older_weights && first_version(sample) != start_version);
    for (size_t t = 0; t < logprobs.size(); ++t) {
      report.entropy_sum += entropies[t];
      if (first && older_weights) {
        const double ratio = std::exp(static_cast<double>(logprobs[t]) - sample.logprobs[t]);
        ratio_sum += ratio;
        ratio_squares += ratio * ratio;
        ++ratio_tokens;
      }
      if (!compared) continue;
      const double difference = std::abs(static_cast<double>(logprobs[t]) - sample.logprobs[t]);
      report.logp_difference_mean += difference;  // a sum until the step ends
      report.logp_difference_max = std::max(report.logp_difference_max, difference);
    }
  }

  // Loss and gradient by log-prob and entropy of the batch that forward() left.
  void differentiate(const LossScope& scope, bool first, StepReport& report) {
    dlogprob.resize(logprob.size());
    dentropy.assign(loss.entropy_coef > 0 ? logprob.size() : 0, 0);
    const double by_entropy = policy_loss.entropy_gradient(scope);
    for (const MicroBatch::Row& row : batch.samples()) {
      add_sample(scope, first, row.group, row.sample,
                 std::span(logprob).subspan(row.first, row.count),
                 std::span(entropy).subspan(row.first, row.count), report);
      for (int64_t t = 0; t < row.count; ++t) {
        const int64_t at = row.first + t;
        dlogprob[at] = static_cast<float>(gradient[t]);
        const bool kept =
            loss.top_entropy_quantile >= 1 || kept_tokens[row.group][row.sample][t] != 0;
        if (!dentropy.empty() && kept) dentropy[at] = static_cast<float>(by_entropy);
      }
    }
  }

  LeafShare leaves_of(TreeNode branches, size_t leaves) const {
    return {leaves * branches.begin / config.branches, leaves * branches.end / config.branches};
  }

  // Calls for the branch's share of the leaves, which depends on nothing but their number.
  std::vector<SliceList> calls_of(int branch, std::span<const GroupSlice> leaves) const {
    const LeafShare share = leaves_of({branch, branch + 1}, leaves.size());
    return plan_calls(groups, leaves.subspan(share.begin, share.end - share.begin),
                      config.micro_batch_tokens);
  }

  // Every rank gets the log-probs of all samples, and adds up the losses in the order in which one
  // process would, and the counts of all.
  void share_scores(const LossScope& scope, bool first, std::span<const GroupSlice> leaves,
                    StepReport& report) {
    const auto share = [&](int rank) {
      return leaves_of(own_branches(config.branches, rank, team->size()), leaves.size());
    };
    const auto texts = gather_scores(*team, "log-probs", leaves, share(team->rank()), scores);
    if (report.updates == 0) check_stop(stop, "the update");
    take_scores(*team, texts, groups, leaves, share, scores);
    for (const GroupSlice& leaf : leaves) {
      for (const int32_t i : leaf.samples) {
        const SampleScores& of = scores[leaf.group][i];
        add_sample(scope, first, leaf.group, i, of.logprobs, of.entropies, report);
      }
    }
    std::vector<int64_t> counts{own.forward_rows, own.recalled_rows};
    const size_t layers = policy.config().is_moe() ? policy.config().moe_layers() : 0;
    batch_router.load.resize(layers);
    for (auto& load : batch_router.load) {
      load.resize(policy.config().router.experts);
      counts.insert(counts.end(), load.begin(), load.end());
    }
    learner.collective().add(counts);
    report.forward_rows += counts[0];
    report.recalled_rows += counts[1];
    auto next = counts.begin() + 2;
    for (auto& load : batch_router.load) {
      std::copy_n(next, load.size(), load.begin());
      next += static_cast<std::ptrdiff_t>(load.size());
    }
  }

  // Forward and backward of the branches that are this process's, its counts in `report`.
  void accumulate(const LossScope& scope, std::span<const GroupSlice> leaves, bool first,
                  int64_t step, int updates, StepReport& report) {
    BalanceLoss balance{config.router_aux_coef, 0};
    for (const GroupSlice& leaf : leaves) {
      for (const int32_t i : leaf.samples)
        balance.responses += static_cast<int64_t>(groups[leaf.group].samples[i].tokens.size());
    }
    const Collective& members = learner.collective();
    const TreeNode mine = own_branches(config.branches, members.rank(), members.size());
    learner.begin();
    batch_router.load.clear();
    int64_t turn = step;
    for (int branch = 0; branch < config.branches; ++branch) {
      for (const SliceList& slices : calls_of(branch, leaves)) {
        const int64_t now = turn++;
        if (branch < mine.begin || branch >= mine.end) continue;
        if (updates == 0 && cut_short()) return;
        const bool recalled = forward(slices, now);
        differentiate(scope, first, report);
        learner.accumulate(batch.targets(), dlogprob.data(),
                           dentropy.empty() ? nullptr : dentropy.data(), balance, branch);
        if (team != nullptr) keep_scores();
        report.forward_rows += batch.packed().rows();
        if (recalled) report.recalled_rows += batch.packed().rows();
      }
    }
  }

  // One optimizer update from a mini-batch. Returns false when the gradient was not finite.
  bool mini_batch(std::span<const int32_t> order, double step_tokens, bool first, int64_t step,
                  StepReport& report) {
    std::vector<int32_t> informative;
    for (const int32_t g : order) {
      if (has_signal(groups[g])) informative.push_back(g);
    }
    if (informative.empty()) return true;
    const LossScope scope = scope_of(order, step_tokens);
    const auto leaves = plan_leaves(groups, informative, config.leaf_tokens);
    if (team == nullptr) {
      accumulate(scope, leaves, first, step, report.updates, report);
    } else {
      own = {};
      reset(own.trained, groups);
      reset(scores, groups);
      accumulate(scope, leaves, first, step, report.updates, own);
      share_scores(scope, first, leaves, report);
    }
    learner.reduce();
    report.grad_norm = learner.step(report.learning_rate);
    if (!std::isfinite(report.grad_norm)) return false;
    if (config.router_bias_rate > 0) {
      balance_selection(policy.parameters(), batch_router, config.router_bias_rate);
    }
    add_load(batch_router, router);
    ++report.updates;
    learner.publish();
    return true;
  }

  StepReport update(int64_t step);
  const std::atomic<bool>* stop = nullptr;  // of the running update
};

StepReport Trainer::Impl::update(int64_t step) {
  const double start = steady_now();
  StepReport report;
  reset(report.trained, groups);
  report.learning_rate = zeroth::learning_rate(schedule, step, total_steps);
  router.load.clear();
  start_version = policy.weights()->version();
  ratio_sum = ratio_squares = ratio_tokens = 0;
  double step_tokens = 0;
  for (const Group& group : groups) step_tokens += static_cast<double>(loss_tokens(group));
  if (loss.beta > 0) {
    if (config.reference_refresh > 0 && step > 0 && step % config.reference_refresh == 0) {
      const auto now = policy.parameters().values();
      std::copy(now.begin(), now.end(), reference->parameters().values().begin());
      reference->publish(step);
    }
    score_samples(*reference, dealt(groups.size(), seed, step, 0, false), reference_logprobs);
  }
  if (loss.decoupled) {
    score_samples(policy, dealt(groups.size(), seed, step, 0, false), proximal_logprobs);
  }
  double first_tokens = 0;
  for (int epoch = 0; epoch < config.inner_epochs; ++epoch) {
    const auto order = dealt(groups.size(), seed, step, epoch, config.mini_batches > 1);
    for (int part = 0; part < config.mini_batches; ++part) {
      const size_t begin = order.size() * part / config.mini_batches;
      const size_t end = order.size() * (part + 1) / config.mini_batches;
      const bool first = report.updates == 0 && first_tokens == 0;
      const bool good = mini_batch(std::span(order).subspan(begin, end - begin), step_tokens, first,
                                   step, report);
      if (first) first_tokens = report.stats.tokens;
      if (!good) epoch = config.inner_epochs;  // ends both loops
      if (!good) break;
    }
  }
  if (first_tokens > 0) report.logp_difference_mean /= first_tokens;
  if (ratio_squares > 0)
    report.effective_sample_size = ratio_sum * ratio_sum / (ratio_tokens * ratio_squares);
  if (reuses()) store.begin(*policy.weights());  // what it holds has been used
  report.max_vio = max_violation(router);
  report.expert_load = router.load;
  report.seconds = steady_now() - start;
  return report;
}

Trainer::Trainer(Policy& policy, std::unique_ptr<Policy> reference, const TrainerConfig& config,
                 const LossConfig& loss, const OptimizerConfig& optimizer, uint64_t seed,
                 int64_t total_steps, int64_t max_tokens, double temperature, Team* team)
    : impl_(std::make_unique<Impl>(policy, std::move(reference), config, loss, optimizer, team)) {
  impl_->seed = seed;
  impl_->total_steps = total_steps;
  impl_->max_tokens = max_tokens;
  impl_->temperature = temperature;
  if (temperature <= 0) {
    fail_usage("sampling.temperature is " + std::to_string(temperature) +
                   ": greedy samples of a group are all equal",
               "train with a temperature above 0, for example 1");
  }
}

Trainer::~Trainer() = default;
StepReport Trainer::update(const std::vector<Group>& groups, int64_t step, const Tickets& tickets,
                           const std::atomic<bool>* stop) {
  impl_->groups = groups;
  impl_->tickets = &tickets;
  impl_->stop = stop;
  return impl_->update(step);
}
void Trainer::expect_older_weights() { impl_->older_weights = true; }
ActivationStore* Trainer::activation_store() { return impl_->reuses() ? &impl_->store : nullptr; }
AdamW& Trainer::optimizer() { return impl_->learner.optimizer(); }
Policy* Trainer::reference() { return impl_->reference.get(); }

}  // namespace zeroth
