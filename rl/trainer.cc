#include "rl/trainer.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "core/interrupted.h"
#include "core/stopwatch.h"
#include "learn/learner.h"
#include "learn/tree_collective.h"
#include "rl/batch_loss.h"
#include "rl/freeze.h"
#include "rl/process_supervision.h"
#include "rl/router_load.h"
#include "rl/shared_scores.h"
#include "rl/training_forward.h"

namespace zeroth {

struct Trainer::Impl {
  Policy& policy;
  std::unique_ptr<Policy> reference;
  WeightsVersion reference_version = 0;  // while it rests
  const TrainerConfig config;
  const LossConfig loss_config;
  const OptimizerConfig schedule;
  const uint64_t seed;
  const int64_t total_steps;
  Team* const team;  // that shares the steps; null: this process is alone
  Learner learner;
  TrainingForward rows;
  BatchLoss loss;
  std::unique_ptr<Policy> teacher;  // null: none
  DistillConfig distill;
  AdvantageConfig advantage;
  const Tokenizer* tokenizer = nullptr;   // of the steps of samples, which are supervised with it
  std::vector<float> dlogprob, dentropy;  // [responses of the call]
  ScoresBySample scores;                  // of the samples that were computed, kept for a team

  // Of the running update().
  std::span<const Group> groups;
  const std::atomic<bool>* stop = nullptr;
  RouterStats router;                    // of the step
  RouterStats batch_router;              // of the mini-batch
  std::vector<int64_t> counts = {0, 0};  // of the mini-batch's rows: computed, and recalled of them

  Impl(Policy& p, std::unique_ptr<Policy> r, const TrainerConfig& c, const LossConfig& l,
       const OptimizerConfig& o, uint64_t s, int64_t steps, int64_t max_tokens, double temperature,
       Team* t, const LoraConfig& lora)
      : policy(p),
        reference(std::move(r)),
        config(c),
        loss_config(l),
        schedule(o),
        seed(s),
        total_steps(steps),
        team(t),
        learner(
            with_frozen(p, c.freeze, c.train_router), o,
            {c.recompute ? Activations::Mode::kCheckpoint : Activations::Mode::kFull, c.branches},
            t != nullptr ? std::make_unique<TreeCollective>(*t) : nullptr,
            make_adapter(lora, with_frozen(p, c.freeze, c.train_router), s)),
        rows(learner, c, s, temperature),
        loss(l, max_tokens, c.mini_batches) {
    if (c.router_replay && !p.config().is_moe()) {
      fail_usage("trainer.router_replay is set, but a " +
                     std::string(to_string(p.config().family)) +
                     " model without experts has no router",
                 "leave it out");
    }
    if (c.router_bias_rate > 0 && !p.config().selection_bias) {
      fail_usage("trainer.router_bias_rate is set, but a " +
                     std::string(to_string(p.config().family)) + " model has no selection bias",
                 "set it to 0, or balance with trainer.router_aux_coef");
    }
    if (temperature <= 0) {
      fail_usage("sampling.temperature is " + std::to_string(temperature) +
                     ": greedy samples of a group are all equal",
                 "train with a temperature above 0, for example 1");
    }
  }

  StepReport update(const UpdatePlan& plan);
  bool mini_batch(const MiniBatchPlan& batch, const UpdatePlan& plan, StepReport& report);
  void accumulate(std::span<const GroupSlice> leaves, int64_t step, StepReport& report);
  void differentiate(StepReport& report);
  void share_scores(std::span<const GroupSlice> leaves, StepReport& report);
  void share_counts();
  void begin_step(int64_t step, StepReport& report);
  void refresh_reference(int64_t step);
  void ask_teacher(StepReport& report);
  void score_samples(const Policy& of, BySample<std::vector<float>>& logprobs);
  bool cut_short() const;
  std::vector<SliceList> calls_of(int branch, std::span<const GroupSlice> leaves) const;
};

// Throws Interrupted when this process is alone and asked to stop; of several ranks, each goes on
// to where all agree about it.
bool Trainer::Impl::cut_short() const {
  if (team != nullptr) return team->cut();
  check_stop(stop, "the update");
  return false;
}

StepReport Trainer::Impl::update(const UpdatePlan& plan) {
  const double start = steady_now();
  StepReport report;
  reset(report.trained, groups);
  report.learning_rate = zeroth::learning_rate(schedule, plan.step, total_steps);
  router = {};
  begin_step(plan.step, report);
  for (const MiniBatchPlan& batch : plan.mini_batches) {
    if (!batch.leaves.empty() && !mini_batch(batch, plan, report)) break;
  }
  loss.end_step(report);
  rows.forget();
  report.max_vio = max_violation(router);
  report.expert_load = router.load;
  report.routing = router.change;
  report.seconds = steady_now() - start;
  return report;
}

// What the losses of the step need besides the samples.
void Trainer::Impl::begin_step(int64_t step, StepReport& report) {
  if (config.optimizer_reset > 0 && step > 0 && step % config.optimizer_reset == 0)
    learner.optimizer().reset();
  loss.begin_step(groups, policy.weights()->version());
  if (tokenizer != nullptr) {
    for (const Group& group : groups)
      loss.token_advantages.push_back(token_advantages(group, advantage, *tokenizer));
  }
  if (loss_config.beta > 0) {
    refresh_reference(step);
    score_samples(*reference, loss.reference_logprobs);
  }
  if (loss_config.decoupled) score_samples(policy, loss.proximal_logprobs);
  if (teacher != nullptr) ask_teacher(report);
}

// ---- the teacher

void Trainer::Impl::ask_teacher(StepReport& report) {
  BySample<std::vector<float>> logprobs;
  score_samples(*teacher, logprobs);
  double gap = 0, tokens = 0;
  BySample<std::vector<double>> own = std::move(loss.token_advantages);
  reset(loss.token_advantages, groups);
  for (size_t g = 0; g < groups.size(); ++g) {
    for (size_t i = 0; i < groups[g].samples.size(); ++i) {
      const Sample& sample = groups[g].samples[i];
      if (logprobs[g][i].empty()) continue;
      const std::vector<uint8_t> mask = drawn_mask(sample);
      for (size_t t = 0; t < sample.tokens.size(); ++t) {
        if (!mask.empty() && mask[t] == 0) continue;
        gap += static_cast<double>(sample.logprobs[t]) - logprobs[g][i][t];
        ++tokens;
      }
      loss.token_advantages[g][i] = distilled_advantages(
          distill, sample, own.empty() ? std::vector<double>() : own[g][i], logprobs[g][i]);
    }
  }
  if (tokens > 0) report.reverse_kl = gap / tokens;
}

// ---- the reference, and the policy at the step's start

void Trainer::Impl::refresh_reference(int64_t step) {
  if (config.reference_refresh == 0 || step == 0 || step % config.reference_refresh != 0) return;
  if (reference->base()) {
    reference->base()->fill(policy.merged());
    reference->take_exact(policy.merged());
  } else {
    const auto now = policy.parameters().values();
    for (const auto& [begin, end] : policy.own_masters())
      std::copy(now.begin() + begin, now.begin() + end,
                reference->parameters().values().begin() + begin);
  }
  reference->publish(step);
}

// Log-probs of every sample that has a loss.
void Trainer::Impl::score_samples(const Policy& of, BySample<std::vector<float>>& logprobs) {
  reset(scores, groups);
  std::vector<int32_t> all(groups.size());
  std::iota(all.begin(), all.end(), 0);
  const auto leaves = plan_leaves(groups, all, config.leaf_tokens, config.router_replay);
  const auto share = [&](int rank) -> LeafShare {
    const int size = team != nullptr ? team->size() : 1;
    return {leaves.size() * rank / size, leaves.size() * (rank + 1) / size};
  };
  const LeafShare mine = share(team != nullptr ? team->rank() : 0);
  const auto own_leaves = std::span(leaves).subspan(mine.begin, mine.end - mine.begin);
  for (const SliceList& slices : plan_calls(groups, own_leaves, config.micro_batch_tokens)) {
    if (cut_short()) break;
    rows.score(*of.weights(), slices);
    rows.keep(scores);
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

// ---- one optimizer update

// Returns false when the gradient was not finite.
bool Trainer::Impl::mini_batch(const MiniBatchPlan& batch, const UpdatePlan& plan,
                               StepReport& report) {
  loss.begin(batch.groups, plan.step_tokens);
  batch_router = {};
  counts = {0, 0};
  std::vector<bool> filled(config.branches);
  for (int branch = 0; branch < config.branches; ++branch) {
    const LeafShare of = leaves_of({branch, branch + 1}, config.branches, batch.leaves.size());
    filled[branch] = of.begin < of.end;
  }
  learner.begin(filled);
  accumulate(batch.leaves, plan.step, report);
  if (team != nullptr) share_scores(batch.leaves, report);
  report.forward_rows += counts[0];
  report.recalled_rows += counts[1];
  learner.reduce();
  report.grad_norm = learner.step(report.learning_rate);
  if (!std::isfinite(report.grad_norm)) return false;
  if (config.router_bias_rate > 0)
    balance_selection(policy.parameters(), batch_router, config.router_bias_rate);
  add_load(batch_router, router);
  ++report.updates;
  learner.publish();
  return true;
}

// Calls for the branch's share of the leaves, which depends on nothing but their number.
std::vector<SliceList> Trainer::Impl::calls_of(int branch,
                                               std::span<const GroupSlice> leaves) const {
  const LeafShare share = leaves_of({branch, branch + 1}, config.branches, leaves.size());
  return plan_calls(groups, leaves.subspan(share.begin, share.end - share.begin),
                    config.micro_batch_tokens);
}

// Forward and backward of the branches that are this process's.
void Trainer::Impl::accumulate(std::span<const GroupSlice> leaves, int64_t step,
                               StepReport& report) {
  BalanceLoss balance{config.router_aux_coef, 0};
  for (const GroupSlice& leaf : leaves) {
    for (const int32_t i : leaf.samples)
      balance.responses += static_cast<int64_t>(groups[leaf.group].samples[i].tokens.size());
  }
  if (team != nullptr) reset(scores, groups);
  const Collective& members = learner.collective();
  const TreeNode mine = own_branches(config.branches, members.rank(), members.size());
  struct Call {
    int branch;
    int64_t turn;
    SliceList slices;
  };
  std::vector<Call> own;
  int64_t turn = step;
  for (int branch = 0; branch < config.branches; ++branch) {
    for (SliceList& slices : calls_of(branch, leaves)) {
      if (branch >= mine.begin && branch < mine.end)
        own.push_back({branch, turn, std::move(slices)});
      ++turn;
    }
  }
  for (const Call& call : own) {
    if (report.updates == 0 && cut_short()) return;
    const bool recalled = rows.forward(call.slices, call.turn, batch_router);
    differentiate(report);
    learner.accumulate(rows.batch().targets(), dlogprob.data(),
                       dentropy.empty() ? nullptr : dentropy.data(), balance, call.branch,
                       &call == &own.back());
    if (team != nullptr) rows.keep(scores);
    counts[0] += rows.batch().packed().rows();
    if (recalled) counts[1] += rows.batch().packed().rows();
  }
}

// Loss and gradient by log-prob and entropy of the last call. A team adds the losses up when all
// ranks' log-probs are there.
void Trainer::Impl::differentiate(StepReport& report) {
  dlogprob.resize(rows.logprobs().size());
  dentropy.assign(loss.wants_entropy() ? rows.logprobs().size() : 0, 0);
  const auto by_entropy = static_cast<float>(loss.entropy_gradient());
  LossStats unused;
  for (const MicroBatch::Row& row : rows.batch().samples()) {
    const auto gradient =
        team == nullptr
            ? loss.add(row.group, row.sample, rows.logprobs(row), rows.entropies(row), report)
            : loss.differentiate(row.group, row.sample, rows.logprobs(row), unused);
    for (int64_t t = 0; t < row.count; ++t) {
      dlogprob[row.first + t] = static_cast<float>(gradient[t]);
      if (!dentropy.empty() && loss.keeps(row.group, row.sample, t))
        dentropy[row.first + t] = by_entropy;
    }
  }
}

// ---- a team's update

// Every rank gets the log-probs of all samples, and adds up the losses in the order in which one
// process would, and the counts of all.
void Trainer::Impl::share_scores(std::span<const GroupSlice> leaves, StepReport& report) {
  const auto share = [&](int rank) {
    return leaves_of(own_branches(config.branches, rank, team->size()), config.branches,
                     leaves.size());
  };
  const auto texts = gather_scores(*team, "log-probs", leaves, share(team->rank()), scores);
  if (report.updates == 0 && stop != nullptr && *stop) {
    learner.abandon();
    check_stop(stop, "the update");
  }
  take_scores(*team, texts, groups, leaves, share, scores);
  for (const GroupSlice& leaf : leaves) {
    for (const int32_t i : leaf.samples) {
      const SampleScores& of = scores[leaf.group][i];
      loss.add(leaf.group, i, of.logprobs, of.entropies, report);
    }
  }
  share_counts();
}

// Of rows, and of the choices of every expert.
void Trainer::Impl::share_counts() {
  const PolicyConfig& model = policy.config();
  batch_router.load.resize(model.is_moe() ? model.moe_layers() : 0);
  RoutingChange& change = batch_router.change;
  std::vector<int64_t> all = counts;
  all.insert(all.end(), {change.choices, change.changed_choices, change.rows, change.changed_rows});
  for (auto& load : batch_router.load) {
    load.resize(model.router.experts);
    all.insert(all.end(), load.begin(), load.end());
  }
  learner.collective().add(all);
  auto next = all.begin();
  std::copy_n(next, counts.size(), counts.begin());
  next += static_cast<std::ptrdiff_t>(counts.size());
  change = {next[0], next[1], next[2], next[3]};
  next += 4;
  for (auto& load : batch_router.load) {
    std::copy_n(next, load.size(), load.begin());
    next += static_cast<std::ptrdiff_t>(load.size());
  }
}

// ---- the trainer

Trainer::Trainer(Policy& policy, std::unique_ptr<Policy> reference, const TrainerConfig& config,
                 const LossConfig& loss, const OptimizerConfig& optimizer, uint64_t seed,
                 int64_t total_steps, int64_t max_tokens, double temperature, Team* team,
                 const LoraConfig& lora)
    : impl_(std::make_unique<Impl>(policy, std::move(reference), config, loss, optimizer, seed,
                                   total_steps, max_tokens, temperature, team, lora)) {}

Trainer::~Trainer() = default;

UpdatePlan Trainer::plan(std::span<const Group> groups, int64_t step) const {
  return plan_update(groups, impl_->config, impl_->loss_config, impl_->seed, step,
                     impl_->teacher != nullptr && impl_->distill.weight > 0);
}

StepReport Trainer::update(const UpdatePlan& plan, std::span<const Group> groups,
                           const Tickets& tickets, const std::atomic<bool>* stop) {
  impl_->groups = groups;
  impl_->stop = stop;
  impl_->rows.begin(groups, tickets);
  return impl_->update(plan);
}

void Trainer::supervise_steps(const AdvantageConfig& config, const Tokenizer& tokenizer) {
  impl_->advantage = config;
  impl_->tokenizer = &tokenizer;
}
void Trainer::distil(std::unique_ptr<Policy> teacher, const DistillConfig& config) {
  const int theirs = teacher->config().vocab_size, ours = impl_->policy.config().vocab_size;
  if (theirs != ours) {
    fail_usage("distill.teacher has " + std::to_string(theirs) + " tokens, and the policy " +
                   std::to_string(ours),
               "choose a teacher with the policy's tokenizer");
  }
  impl_->teacher = std::move(teacher);
  impl_->distill = config;
}
void Trainer::rest() {
  impl_->learner.rest();
  if (!impl_->reference || !impl_->reference->weights()) return;
  impl_->reference_version = impl_->reference->weights()->version();
  impl_->reference->withdraw();
}
void Trainer::wake() {
  impl_->learner.publish();
  if (impl_->reference && !impl_->reference->weights())
    impl_->reference->publish(impl_->reference_version);
}
double Trainer::entropy_coef() const { return impl_->loss.entropy_coef(); }
void Trainer::set_entropy_coef(double coef) { impl_->loss.set_entropy_coef(coef); }
void Trainer::expect_older_weights() {
  impl_->loss.expect_older_weights(impl_->config.router_replay);
}
ActivationStore* Trainer::activation_store() { return impl_->rows.store(); }
LowRankUpdate* Trainer::low_rank() { return impl_->learner.low_rank(); }
AdamW& Trainer::optimizer() { return impl_->learner.optimizer(); }
Policy* Trainer::reference() { return impl_->reference.get(); }

}  // namespace zeroth
