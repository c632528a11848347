#include "rollout/local_sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <mutex>
#include <numeric>
#include <optional>
#include <string>
#include <utility>

#include "core/error.h"
#include "core/stopwatch.h"
#include "model/image_codes.h"
#include "policy/activation_store.h"
#include "rollout/generation.h"
#include "rollout/layer_drafts.h"
#include "rollout/roofline.h"
#include "rollout/scheduler.h"
#include "rollout/start_order.h"

namespace zeroth {
namespace {

void check_config(const EngineConfig& config, const PolicyConfig& model) {
  const auto check = [](const char* name, int64_t value, int64_t least) {
    if (value >= least) return;
    fail_usage(std::string("engine: ") + name + " is " + std::to_string(value),
               "use at least " + std::to_string(least));
  };
  check("max_batch", config.max_batch, 1);
  check("cache_pages", config.cache_pages, 0);
  check("cache_mb", config.cache_mb, 1);
  check("prefill_chunk", config.prefill_chunk, 1);
  check("draft_tokens", config.draft_tokens, 0);
  check("draft_batch", config.draft_batch, 1);
  check("draft_mb", config.draft_mb, 0);
  if (config.record_experts && model.router.experts > 256) {
    fail_usage("engine: record_experts keeps an expert id in one byte, but the policy has " +
                   std::to_string(model.router.experts) + " experts",
               "leave engine.record_experts and trainer.router_replay off");
  }
}

// Whether the cache and the batches of one model serve the other.
bool same_shape(const PolicyConfig& a, const PolicyConfig& b) {
  const auto shape = [](const PolicyConfig& c) {
    return std::array<int64_t, 13>{c.layers,
                                   c.width,
                                   c.vocab_size,
                                   c.max_position,
                                   c.cache_heads(),
                                   c.k_dim(),
                                   c.v_dim(),
                                   c.moe_layers(),
                                   c.router.top_k,
                                   c.router.experts,
                                   c.recurrent_layers(),
                                   c.delta.slot(),
                                   c.delta.state()};
  };
  return shape(a) == shape(b);
}

}  // namespace

// What lives as long as the sampler: the cache and the scratch memory of a step.
struct LocalSampler::Impl {
  Impl(WeightsPtr weights, const Tokenizer* tokenizer_in, const EngineConfig& config_in,
       ActivationStore* store_in)
      : model(weights->config()),
        tokenizer(tokenizer_in),
        config(config_in),
        store(store_in),
        drafter(config_in,
                Roofline(model, weights->element() == kernels::Element::kBfloat16 ? 2 : 4)),
        published(std::move(weights)) {
    check_config(config, model);
    if (config.draft_layer && config.draft_tokens > 0) layer.emplace(*published);
    const int64_t page_bytes = KvCache(model, 1).bytes();
    const int64_t wanted = std::max<int64_t>(1, config.cache_pages);
    max_pages = std::min<int64_t>((int64_t{config.cache_mb} << 20) / page_bytes,
                                  std::numeric_limits<int32_t>::max());
    if (max_pages < wanted) {
      fail_usage("engine: " + std::to_string(wanted) + " cache pages of " +
                     std::to_string(page_bytes) +
                     " bytes exceed cache_mb = " + std::to_string(config.cache_mb),
                 "raise cache_mb, or lower cache_pages (0 = as many as fit)");
    }
    if (config.cache_pages > 0) max_pages = config.cache_pages;
  }

  // Pages for one generate(). The cache grows when these requests can use more than it has; nothing
  // in it is needed after a generate().
  // `open`: others may join in, of any length.
  int64_t reserve(const Generation& generation, bool open) {
    generation.check_fits(max_pages, advice());
    const int64_t useful =
        open ? config.max_batch * (Scheduler::pages_needed(model.max_position, 1) + 1)
             : generation.useful_pages(config.max_batch);
    const int64_t pages = std::min(max_pages, useful);
    if (cache == nullptr || cache->pages() < pages) {
      cache.reset();  // never two caches at once
      cache = std::make_unique<KvCache>(model, pages, weights->operators());
    }
    if (layer) layer->begin(*weights, pages);
    return pages;
  }

  // In which order requests begin.
  std::vector<size_t> order_of(const std::vector<GenerationRequest>& requests) const {
    if (config.longest_first) return longest_first(requests);
    std::vector<size_t> order(requests.size());
    std::iota(order.begin(), order.end(), size_t{0});
    return order;
  }

  void join(const std::vector<GenerationRequest>& requests, Generation& generation, int64_t pages,
            Scheduler& scheduler) {
    const size_t first = generation.requests();
    for (const size_t i : order_of(requests)) {
      generation.join(requests[i], first + i, pages, advice(), scheduler, weights->version());
    }
  }

  const char* advice() const {
    return config.cache_pages > 0 ? "raise cache_pages" : "raise cache_mb";
  }

  // `keep`: whether the store gets what is computed.
  void step(Scheduler& scheduler, Generation& generation, const GenerateOptions& options,
            bool keep) {
    generation.draft(scheduler);
    const StepPlan& plan = scheduler.plan();
    for (const auto& [from, to] : plan.copies) {
      cache->copy_page(from, to);
      if (layer) layer->copy_page(from, to);
    }
    if (keep) generation.take_rows(plan, *store, store_rows);
    if (!plan.tokens.empty()) forward(plan, keep);
    generation.gather(plan, weights->operators(), hidden.data(), routing.data(), draws);
    if (!plan.draws.empty()) sample();
    Generation::settle(plan, draws);
    const bool usable = check_finite(plan);
    generation.record(plan, draws, routing.data(), outcomes, options.done, options.drew);
    count(plan);
    scheduler.commit(outcomes);  // leaves the plan as it is
    if (layer && !plan.tokens.empty()) {
      layer->follow(*weights, plan, generation, hidden.data(), drafter.wanted(scheduler.running()),
                    drafter);
    }
    if (!usable) forget_cache(scheduler);
  }

  void count(const StepPlan& plan) {
    stats.prompt_tokens += plan.prefill_rows;
    for (size_t i = 0; i < outcomes.size(); ++i) {
      const bool drafted = plan.draws[i].ahead > 0, drawn = outcomes[i].drawn;
      stats.sampled_tokens += drawn;
      stats.draft_tokens += drafted;
      stats.draft_accepted += drafted && drawn;
    }
  }

  // Tokens that were only guessed have left what is not finite; those that are drawn may never come
  // to that.
  void forget_cache(Scheduler& scheduler) {
    const int64_t pages = cache->pages();
    cache.reset();
    cache = std::make_unique<KvCache>(model, pages, weights->operators());
    scheduler.restart();
    drafter.rest();
  }

  void forward(const StepPlan& plan, bool keep) {
    const size_t rows = plan.tokens.size();
    hidden.on(weights->operators().device());
    hidden.get(static_cast<int64_t>(rows) * hidden_width(model));
    if (config.record_experts) {
      const size_t row_bytes = size_t(model.moe_layers()) * (model.router.top_k + 1);
      routing.resize(std::max(routing.size(), rows * row_bytes));
    }
    const ForwardBatch batch{plan.tokens,     plan.positions,  plan.sequence,
                             plan.page_table, plan.page_begin, plan.writes};
    weights->forward(batch, *cache, hidden.data(),
                     {.routing = routing.empty() ? nullptr : routing.data(),
                      .store = keep ? store : nullptr,
                      .store_rows = store_rows});
    ++stats.forward_calls;
  }

  void sample() {
    weights->sample(draws.hidden.data(), static_cast<int64_t>(draws.keys.size()),
                    draws.params.data(), draws.keys.data(), draws.positions.data(),
                    draws.tokens.data(), draws.logprobs.data(), draws.entropies.data(),
                    draws.truncated ? draws.kept.data() : nullptr);
  }

  // Whether weights were published behind those in use.
  bool outdated() {
    std::lock_guard lock(mutex);
    return published && published != weights;
  }

  void take_published() {
    std::lock_guard lock(mutex);
    if (published) weights = published;
  }

  // Keys and values that are not finite would outlive their sequence: attention multiplies what a
  // page still holds behind its last token by zero. False: only rows of drafts are at fault.
  bool check_finite(const StepPlan& plan) {
    bool usable = true;
    for (size_t i = 0; i < plan.draws.size(); ++i) {
      if (std::isfinite(draws.logprobs[i]) && std::isfinite(draws.entropies[i])) continue;
      usable = false;
      if (plan.draws[i].ahead > 0) continue;
      cache.reset();
      fail("the policy (version " + std::to_string(weights->version()) +
               ") gives a log-probability of " + std::to_string(draws.logprobs[i]) + " for token " +
               std::to_string(draws.positions[i]) + " of sample " +
               std::to_string(draws.keys[i].sample) + " of problem " +
               std::to_string(draws.keys[i].problem),
           "its weights have diverged: go back to an earlier checkpoint, and lower the learning "
           "rate or the gradient norm bound");
    }
    return usable;
  }

  const PolicyConfig model;
  const Tokenizer* tokenizer;
  EngineConfig config;
  ActivationStore* store;
  Drafter drafter;
  std::optional<LayerDrafts> layer;  // with config.draft_layer
  std::mutex mutex;                  // guards `published`
  WeightsPtr published;              // what the next generate() samples with
  WeightsPtr weights;                // of the generate() that runs
  int64_t max_pages = 0;
  std::unique_ptr<KvCache> cache;
  kernels::Array<float> hidden;     // [rows of the step, width]
  std::vector<uint8_t> routing;     // [rows of the step, ..], see Policy::forward
  std::vector<int32_t> store_rows;  // [rows of the step]
  DrawBatch draws;
  std::vector<Outcome> outcomes;
  SamplerStats stats;
};

namespace {

// The published weights for one generate(); whatever is published meanwhile, they stay.
template <class Impl>
class UsedWeights {
 public:
  explicit UsedWeights(Impl& impl) : impl_(impl) {
    std::lock_guard lock(impl.mutex);
    if (!impl.published) {
      fail("engine: no weights are published", "call publish() before generate()");
    }
    impl.weights = impl.published;
  }
  ~UsedWeights() { impl_.weights = nullptr; }
  UsedWeights(const UsedWeights&) = delete;
  UsedWeights& operator=(const UsedWeights&) = delete;

 private:
  Impl& impl_;
};

}  // namespace

LocalSampler::LocalSampler(WeightsPtr weights, const Tokenizer* tokenizer,
                           const EngineConfig& config, ActivationStore* store)
    : impl_(std::make_unique<Impl>(std::move(weights), tokenizer, config, store)) {}

LocalSampler::~LocalSampler() = default;

void LocalSampler::publish(WeightsPtr weights) {
  if (weights && !same_shape(weights->config(), impl_->model)) {
    fail("engine: version " + std::to_string(weights->version()) +
             " is of another model than the weights before",
         "make a sampler for it");
  }
  if (weights && impl_->layer) LayerDrafts{*weights};  // an Error for weights that have none
  std::lock_guard lock(impl_->mutex);
  impl_->published.swap(weights);  // the old version may die behind the lock, not under it
}

std::vector<std::vector<Sample>> LocalSampler::generate(
    const std::vector<GenerationRequest>& requests, const GenerateOptions& options) {
  const double begin = steady_now();
  if (options.tickets && options.weights != WeightsUse::kOwn) {
    fail_usage("engine: activations are kept of one version of the weights only",
               "ask for no tickets, or leave GenerateOptions::weights at kOwn");
  }
  Generation generation(requests, impl_->model, impl_->tokenizer, impl_->config.record_experts);
  const UsedWeights used(*impl_);
  const int64_t pages = impl_->reserve(generation, static_cast<bool>(options.more));
  Scheduler scheduler({pages, impl_->config.max_batch, impl_->config.prefill_chunk});
  generation.begin_in(impl_->order_of(requests));
  generation.start(scheduler, impl_->weights->version(), &impl_->drafter);
  const bool keep = options.tickets != nullptr && impl_->store != nullptr;
  if (keep && !impl_->store->holds(*impl_->weights)) impl_->store->begin(*impl_->weights);
  const auto cancelled = [&] {
    return options.cancel != nullptr && options.cancel->load(std::memory_order_relaxed);
  };
  if (options.more) generation.forget_finished();
  while (!cancelled()) {
    bool outdated = options.weights != WeightsUse::kOwn && impl_->outdated();
    if (outdated && (options.weights == WeightsUse::kSwitch || scheduler.done())) {
      impl_->take_published();
      generation.switch_to(impl_->weights->version(), scheduler);
      outdated = false;
    }
    if (options.more && !outdated) {
      impl_->join(options.more(impl_->weights->version()), generation, pages, scheduler);
    }
    if (scheduler.done()) break;
    impl_->step(scheduler, generation, options, keep);
  }
  generation.abort();
  impl_->stats.preemptions += scheduler.preemptions();
  impl_->stats.seconds += steady_now() - begin;
  if (options.tickets) *options.tickets = generation.take_tickets();
  return generation.take();
}

const SamplerStats& LocalSampler::stats() const { return impl_->stats; }

}  // namespace zeroth
