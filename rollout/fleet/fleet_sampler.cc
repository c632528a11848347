#include "rollout/fleet/fleet_sampler.h"

#include <algorithm>
#include <map>
#include <mutex>

#include "core/error.h"
#include "core/rng.h"
#include "core/stopwatch.h"
#include "rollout/sample_rules.h"
#include "rollout/serve/chat_prompt.h"
#include "rollout/serve/completion_service.h"

namespace zeroth::fleet {
namespace {

constexpr uint32_t kAuditStream = 0x61756474;  // what picks groups, apart from sampling's draws
constexpr double kSayAgain = 30;               // seconds between two lines about missing workers

// Whether a piece is computed again: a function of its keys, so that nobody can choose.
bool selected(const GenerationRequest& request, int first_sample, double rate) {
  if (rate >= 1) return true;
  Rng rng(StreamKey{request.seed, request.step, request.problem,
                    kAuditStream ^ (request.first_sample + static_cast<uint32_t>(first_sample))});
  constexpr uint32_t kParts = 1 << 24;
  return rng.below(kParts) < rate * kParts;
}

// One generate(): what came, and whose it is.
class Collection {
 public:
  Collection(Coordinator& coordinator, const WeightsPtr& weights,
             const std::vector<GenerationRequest>& requests, double audit_rate)
      : coordinator_(coordinator),
        weights_(weights),
        requests_(requests),
        audit_rate_(audit_rate),
        samples_(requests.size()),
        told_(requests.size()) {
    for (size_t r = 0; r < requests.size(); ++r) {
      samples_[r].resize(requests[r].samples);
      told_[r].resize(requests[r].samples);
      missing_ += requests[r].samples;
    }
  }

  bool complete() const { return missing_ == 0; }

  void take(Delivery delivery, const GenerateOptions& options) {
    const GenerationRequest request = piece_of(delivery);
    const bool contested = !delivery.rival_worker.empty();
    if (contested || selected(requests_[delivery.request], delivery.first_sample, audit_rate_)) {
      coordinator_.note_audit();
      const AuditFinding finding = audit(*weights_, request, delivery.samples);
      if (contested) {
        const AuditFinding rival = audit(*weights_, request, delivery.rival);
        if (!rival.honest()) convict(delivery.rival_worker, delivery.work, delivery.rival, rival);
      }
      if (!finding.honest())
        return convict(delivery.worker, delivery.work, delivery.samples, finding);
    }
    if (!contested) keep(std::move(delivery), options);
  }

  std::vector<std::vector<Sample>> finish() {
    for (size_t r = 0; r < requests_.size(); ++r) {
      for (int i = 0; i < requests_[r].samples; ++i) {
        Sample& sample = samples_[r][i];
        sample.versions = {{0, weights_->version()}};
        if (!sample.tokens.empty()) continue;
        sample.key = {requests_[r].seed, requests_[r].step, requests_[r].problem,
                      requests_[r].first_sample + static_cast<uint32_t>(i)};
        sample.finish = FinishReason::kAborted;
      }
    }
    return std::move(samples_);
  }

 private:
  GenerationRequest piece_of(const Delivery& delivery) const {
    GenerationRequest request = requests_[delivery.request];
    request.first_sample += static_cast<uint32_t>(delivery.first_sample);
    request.samples = static_cast<int>(delivery.samples.size());
    return request;
  }

  void keep(Delivery delivery, const GenerateOptions& options) {
    kept_[delivery.work] = {delivery.request, delivery.first_sample,
                            static_cast<int>(delivery.samples.size()), delivery.worker};
    missing_ -= static_cast<int64_t>(delivery.samples.size());
    for (size_t i = 0; i < delivery.samples.size(); ++i) {
      const int index = delivery.first_sample + static_cast<int>(i);
      Sample& sample = samples_[delivery.request][index];
      sample = std::move(delivery.samples[i]);
      sample.versions = {{0, weights_->version()}};
      if (std::exchange(told_[delivery.request][index], 1) || !options.done) continue;
      options.done(delivery.request, index, sample);
    }
  }

  // Everything that this worker made for the call is made again.
  void convict(const std::string& worker, int64_t work, const std::vector<Sample>& samples,
               const AuditFinding& finding) {
    std::vector<int64_t> works = {work};
    for (auto at = kept_.begin(); at != kept_.end();) {
      if (at->second.worker != worker) {
        ++at;
        continue;
      }
      works.push_back(at->first);
      missing_ += at->second.samples;
      for (int i = 0; i < at->second.samples; ++i)
        samples_[at->second.request][at->second.first_sample + i] = {};
      at = kept_.erase(at);
    }
    coordinator_.convict(worker, work, samples, finding, works);
  }

  struct Kept {
    int request = 0, first_sample = 0, samples = 0;
    std::string worker;
  };
  Coordinator& coordinator_;
  const WeightsPtr weights_;
  const std::vector<GenerationRequest>& requests_;
  const double audit_rate_;
  std::vector<std::vector<Sample>> samples_;
  std::vector<std::vector<char>> told_;
  std::map<int64_t, Kept> kept_;  // by work
  int64_t missing_ = 0;
};

// Withdraws what is left however generate() ends.
struct Batch {
  Coordinator& coordinator;
  Batch(Coordinator& to, const std::vector<GenerationRequest>& requests, const std::string& weights)
      : coordinator(to) {
    coordinator.begin(requests, weights);
  }
  ~Batch() { coordinator.end(); }
  Batch(const Batch&) = delete;
};

}  // namespace

struct FleetSampler::Impl {
  FleetConfig config;
  PolicyConfig model;
  bool has_tokenizer;
  std::function<void(const std::string&)> note;
  std::unique_ptr<serve::CompletionService> service;  // with config.serve
  Coordinator coordinator;
  std::mutex mutex;      // guards `published`
  WeightsPtr published;  // what the next generate() samples with
  int64_t known = 0;     // id of the weights that the coordinator has
  std::string sha256;    // theirs
  SamplerStats stats;
  double said = steady_now();

  Impl(WeightsPtr weights, const FleetConfig& fleet_config, FleetSetup setup,
       std::function<void(const std::string&)> tell)
      : config(fleet_config),
        model(setup.model),
        has_tokenizer(setup.tokenizer != nullptr),
        note(std::move(tell)),
        service(make_service(weights, setup)),
        coordinator(fleet_config, with_service(std::move(setup))),
        published(std::move(weights)) {
    say("fleet: listening; start workers with: zeroth worker " + coordinator.url() +
        " --token-file " + coordinator.token_file().string());
  }

  std::unique_ptr<serve::CompletionService> make_service(const WeightsPtr& weights,
                                                         const FleetSetup& setup) const {
    if (!config.serve) return nullptr;
    if (setup.tokenizer == nullptr) fail_usage("fleet.serve needs a tokenizer", "leave it out");
    serve::ServedModel served;
    served.name = "policy";
    served.config = &model;
    served.tokenizer = setup.tokenizer;
    served.render = serve::chat_renderer(*setup.tokenizer);
    return std::make_unique<serve::CompletionService>(weights, served, serve::ServiceOptions{});
  }

  FleetSetup with_service(FleetSetup setup) const {
    if (!service) return setup;
    setup.more = [s = service.get()](const HttpExchangePtr& exchange) {
      return s->handle(exchange);
    };
    setup.more_bytes = &serve::CompletionService::body_limit;
    return setup;
  }

  void say(const std::string& line) {
    said = steady_now();
    if (note) note(line);
  }

  WeightsPtr current() {
    WeightsPtr weights;
    {
      std::lock_guard lock(mutex);
      weights = published;
    }
    if (!weights) fail("sampler: no weights are published", "call publish() before generate()");
    if (weights->id() != known) {
      sha256 = coordinator.publish(*weights);
      known = weights->id();
      if (service) service->publish(weights);
    }
    return weights;
  }
};

FleetSampler::FleetSampler(WeightsPtr weights, const FleetConfig& config, FleetSetup setup,
                           std::function<void(const std::string&)> note)
    : impl_(std::make_unique<Impl>(std::move(weights), config, std::move(setup), std::move(note))) {
}

FleetSampler::~FleetSampler() = default;

void FleetSampler::publish(WeightsPtr weights) {
  std::lock_guard lock(impl_->mutex);
  impl_->published.swap(weights);
}

std::vector<std::vector<Sample>> FleetSampler::generate(
    const std::vector<GenerationRequest>& requests, const GenerateOptions& options) {
  const double start = steady_now();
  if (options.drew || options.more)
    fail("a fleet gives whole samples only", "leave GenerateOptions::drew and more empty");
  for (size_t i = 0; i < requests.size(); ++i)
    check_request(requests[i], impl_->model, impl_->has_tokenizer, "request " + std::to_string(i));
  const WeightsPtr weights = impl_->current();
  Collection collection(impl_->coordinator, weights, requests, impl_->config.audit_rate);
  {
    const Batch batch(impl_->coordinator, requests, impl_->sha256);
    const auto cancelled = [&] { return options.cancel != nullptr && options.cancel->load(); };
    while (!collection.complete() && !cancelled()) {
      if (auto delivery = impl_->coordinator.next(0.1)) {
        collection.take(std::move(*delivery), options);
      } else if (steady_now() - impl_->said > kSayAgain && impl_->coordinator.workers() == 0) {
        impl_->say("fleet: no worker is there; waiting at " + impl_->coordinator.url());
      }
    }
  }
  auto samples = collection.finish();
  if (options.tickets) {
    options.tickets->assign(requests.size(), {});
    for (size_t r = 0; r < requests.size(); ++r) (*options.tickets)[r].resize(requests[r].samples);
  }
  for (size_t r = 0; r < requests.size(); ++r) {
    impl_->stats.prompt_tokens += static_cast<int64_t>(requests[r].prompt.size());
    for (const Sample& sample : samples[r])
      impl_->stats.sampled_tokens += static_cast<int64_t>(sample.tokens.size());
  }
  impl_->stats.seconds += steady_now() - start;
  return samples;
}

const SamplerStats& FleetSampler::stats() const { return impl_->stats; }

Coordinator& FleetSampler::coordinator() { return impl_->coordinator; }

}  // namespace zeroth::fleet
