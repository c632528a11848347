#include "rollout/fleet/fleet_sampler.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <set>

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
  // With `more` whole requests are handed over by done() and forgotten.
  Collection(Coordinator& coordinator, double audit_rate, const GenerateOptions& options)
      : coordinator_(coordinator),
        audit_rate_(audit_rate),
        stream_(static_cast<bool>(options.more)),
        use_(options.weights) {}

  // Requests to be made by these weights of that hash.
  void join(std::vector<GenerationRequest> requests, const WeightsPtr& weights,
            const std::string& sha256) {
    know(weights, sha256);
    std::vector<int> numbers;
    for (const GenerationRequest& request : requests) {
      numbers.push_back(next_);
      Asked& asked = asked_[next_++];
      asked.request = request;
      asked.samples.resize(request.samples);
      asked.told.resize(request.samples);
      asked.missing = request.samples;
      missing_ += request.samples;
    }
    coordinator_.add(numbers, requests, sha256, use_);
  }
  // Weights that were published behind those, which some requests may have gone on to.
  void know(const WeightsPtr& weights, const std::string& sha256) {
    if (!versions_.emplace(sha256, weights).second) return;
    // Those behind the oldest that are still in use may be, too.
    const std::set<std::string> used = coordinator_.weights_in_use();
    int64_t oldest = weights->id();
    for (const auto& [name, known] : versions_)
      if (used.count(name) > 0) oldest = std::min(oldest, known->id());
    std::erase_if(versions_, [&](const auto& v) { return v.second->id() < oldest; });
  }

  bool complete() const { return missing_ == 0; }
  // Id of the oldest weights that anything is made by; INT64_MAX: none.
  int64_t oldest() const {
    int64_t out = INT64_MAX;
    for (const auto& [sha256, weights] : versions_) out = std::min(out, weights->id());
    return out;
  }

  void take(Delivery delivery, const GenerateOptions& options) {
    const auto found = asked_.find(delivery.request);
    if (found == asked_.end()) return;  // its worker was shut out meanwhile
    const GenerationRequest request = piece_of(found->second.request, delivery);
    if (use_ != WeightsUse::kSwitch) {
      for (auto* samples : {&delivery.samples, &delivery.rival}) {
        for (Sample& sample : *samples)
          sample.versions = {{0, versions_.at(delivery.weights)->version()}};
      }
    }
    const bool contested = !delivery.rival_worker.empty();
    if (contested || selected(found->second.request, delivery.first_sample, audit_rate_)) {
      coordinator_.note_audit();
      const AuditFinding finding = look(request, delivery.samples);
      if (contested) {
        const AuditFinding rival = look(request, delivery.rival);
        if (!rival.honest()) convict(delivery.rival_worker, delivery.work, delivery.rival, rival);
      }
      if (!finding.honest())
        return convict(delivery.worker, delivery.work, delivery.samples, finding);
    }
    if (!contested) keep(std::move(delivery), options);
  }

  std::vector<std::vector<Sample>> finish(WeightsVersion version) {
    std::vector<std::vector<Sample>> out;
    for (auto& [number, asked] : asked_) {
      for (int i = 0; i < asked.request.samples; ++i) {
        Sample& sample = asked.samples[i];
        if (!sample.tokens.empty()) continue;
        sample.versions = {{0, version}};
        sample.key = {asked.request.seed, asked.request.step, asked.request.problem,
                      asked.request.first_sample + static_cast<uint32_t>(i)};
        sample.finish = FinishReason::kAborted;
      }
      out.push_back(std::move(asked.samples));
    }
    return out;
  }

 private:
  struct Asked {
    GenerationRequest request;
    std::vector<Sample> samples;
    std::vector<char> told;
    int64_t missing = 0;
  };
  struct Kept {
    int request = 0, first_sample = 0, samples = 0;
    std::string worker;
  };

  static GenerationRequest piece_of(GenerationRequest request, const Delivery& delivery) {
    request.first_sample += static_cast<uint32_t>(delivery.first_sample);
    request.samples = static_cast<int>(delivery.samples.size());
    return request;
  }

  AuditFinding look(const GenerationRequest& request, const std::vector<Sample>& samples) const {
    return audit_segments(
        [&](WeightsVersion version) {
          for (const auto& [sha256, weights] : versions_)
            if (weights->version() == version) return weights;
          fail("the weights of version " + std::to_string(version) + " are not kept any more");
        },
        request, samples);
  }

  void keep(Delivery delivery, const GenerateOptions& options) {
    Asked& asked = asked_.at(delivery.request);
    const auto count = static_cast<int64_t>(delivery.samples.size());
    kept_[delivery.work] = {delivery.request, delivery.first_sample, static_cast<int>(count),
                            delivery.worker};
    missing_ -= count;
    asked.missing -= count;
    for (size_t i = 0; i < delivery.samples.size(); ++i) {
      const int index = delivery.first_sample + static_cast<int>(i);
      Sample& sample = asked.samples[index];
      sample = std::move(delivery.samples[i]);
      if (stream_ || std::exchange(asked.told[index], 1) || !options.done) continue;
      options.done(delivery.request, index, sample);
    }
    if (stream_ && asked.missing == 0) hand_over(delivery.request, options);
  }

  void hand_over(int number, const GenerateOptions& options) {
    const Asked asked = std::move(asked_.at(number));
    asked_.erase(number);
    std::erase_if(kept_, [&](const auto& kept) { return kept.second.request == number; });
    coordinator_.remove(number);
    for (int i = 0; i < asked.request.samples && options.done; ++i)
      options.done(number, i, asked.samples[i]);
  }

  // Everything that this worker made and that was not handed over is made again.
  void convict(const std::string& worker, int64_t work, const std::vector<Sample>& samples,
               const AuditFinding& finding) {
    std::vector<int64_t> works = {work};
    for (auto at = kept_.begin(); at != kept_.end();) {
      if (at->second.worker != worker) {
        ++at;
        continue;
      }
      works.push_back(at->first);
      Asked& asked = asked_.at(at->second.request);
      missing_ += at->second.samples;
      asked.missing += at->second.samples;
      for (int i = 0; i < at->second.samples; ++i) asked.samples[at->second.first_sample + i] = {};
      at = kept_.erase(at);
    }
    coordinator_.convict(worker, work, samples, finding, works);
  }

  Coordinator& coordinator_;
  const double audit_rate_;
  const bool stream_;
  const WeightsUse use_;
  int next_ = 0;
  std::map<int, Asked> asked_;                  // by number
  std::map<std::string, WeightsPtr> versions_;  // by hash: of all that is asked for
  std::map<int64_t, Kept> kept_;                // by work
  int64_t missing_ = 0;
};

// Withdraws what is left however generate() ends.
struct Batch {
  Coordinator& coordinator;
  explicit Batch(Coordinator& to) : coordinator(to) { coordinator.begin(); }
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
  std::mutex mutex;            // guards `published`
  WeightsPtr published;        // what the next generate() samples with
  std::vector<int64_t> known;  // ids of the weights that the coordinator has got, newest last
  std::string sha256;          // of the newest
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

  // The newest weights, known to the coordinator, which keeps those from id `oldest` on too.
  WeightsPtr current(int64_t oldest = INT64_MAX) {
    WeightsPtr weights;
    {
      std::lock_guard lock(mutex);
      weights = published;
    }
    if (!weights) fail("sampler: no weights are published", "call publish() before generate()");
    if (known.empty() || weights->id() != known.back()) {
      std::erase_if(known, [&](int64_t id) { return id < oldest; });
      sha256 = coordinator.publish(*weights, std::max(2, static_cast<int>(known.size()) + 1));
      known.push_back(weights->id());
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
  if (options.drew) fail("a fleet gives whole samples only", "leave GenerateOptions::drew empty");
  int numbered = 0;
  const auto check = [&](const std::vector<GenerationRequest>& asked) {
    for (const GenerationRequest& request : asked) {
      const std::string who = "request " + std::to_string(numbered++);
      check_request(request, impl_->model, impl_->has_tokenizer, who);
      if (!request.begun.empty())
        fail(who + ": a fleet begins samples itself", "leave begun empty");
    }
  };
  check(requests);
  WeightsPtr weights = impl_->current();
  Collection collection(impl_->coordinator, impl_->config.audit_rate, options);
  {
    const Batch batch(impl_->coordinator);
    if (!requests.empty()) collection.join(requests, weights, impl_->sha256);
    const auto cancelled = [&] { return options.cancel != nullptr && options.cancel->load(); };
    while (!cancelled()) {
      if (options.more) {
        if (options.weights != WeightsUse::kOwn) {
          weights = impl_->current(collection.oldest());
          collection.know(weights, impl_->sha256);
        }
        auto more = options.more(weights->version());
        check(more);
        if (!more.empty()) collection.join(std::move(more), weights, impl_->sha256);
      }
      if (collection.complete()) break;
      if (auto delivery = impl_->coordinator.next(0.1)) {
        impl_->stats.forward_calls += delivery->did.forward_calls;
        impl_->stats.draft_tokens += delivery->did.draft_tokens;
        impl_->stats.draft_accepted += delivery->did.draft_accepted;
        collection.take(std::move(*delivery), options);
      } else if (steady_now() - impl_->said > kSayAgain && impl_->coordinator.workers() == 0) {
        impl_->say("fleet: no worker is there; waiting at " + impl_->coordinator.url());
      }
    }
  }
  auto samples = collection.finish(weights->version());
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
