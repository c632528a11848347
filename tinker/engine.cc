#include "tinker/engine.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <limits>
#include <thread>

#include "core/error.h"
#include "core/rng.h"
#include "policy/scoring.h"
#include "rollout/local_sampler.h"
#include "rollout/sample_rules.h"
#include "rollout/scheduler.h"

namespace zeroth::tinker {
namespace {

// A request for samples on its way.
struct Job {
  std::string id;
  SampleRequest request;
  GenerationRequest generation;
  Sampler sampler;
  SampleResult result;
  int left = 0;
};
using JobPtr = std::shared_ptr<Job>;

// Either work, or a job.
struct Item {
  std::string id;
  std::function<Result()> work;
  JobPtr job;
};

uint64_t mixed(uint64_t seed, uint64_t sampler, uint64_t request) {
  const auto block = philox4x32({static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)},
                                {static_cast<uint32_t>(sampler), static_cast<uint32_t>(request),
                                 static_cast<uint32_t>(request >> 32), 0x7469u});
  return uint64_t{block[0]} << 32 | block[1];
}

// Log-probs of the prompt's tokens, NaN for those that are not asked for and for the first.
std::vector<float> prompt_logprobs(const Weights& weights, const SampleRequest& request) {
  const std::vector<std::vector<TokenId>> prompts = {request.prompt};
  const std::vector<float> known = score_sequences(weights, prompts)[0];
  std::vector<float> out(request.prompt.size(), std::numeric_limits<float>::quiet_NaN());
  const size_t first =
      request.last_logprobs > 0 ? out.size() - static_cast<size_t>(request.last_logprobs) : 1;
  for (size_t i = first; i < out.size(); ++i) out[i] = known[i - 1];
  return out;
}

}  // namespace

struct Engine::Impl {
  const WeightsPtr base;
  const PolicyConfig model;
  const Tokenizer& tokenizer;
  const EngineOptions options;
  Samplers& samplers;
  Futures& futures;
  const int64_t cache_pages;
  LocalSampler with_ends;                      // tokens that end a text end a sample
  std::unique_ptr<LocalSampler> without_ends;  // made when one is asked for that nothing ends
  mutable std::mutex mutex;                    // guards what follows
  std::condition_variable changed;
  std::deque<Item> queue;
  EngineStats counts;
  std::atomic<bool> stop{false};
  std::thread thread;

  Impl(WeightsPtr weights, const Tokenizer& texts, const EngineOptions& with, Samplers& by,
       Futures& to)
      : base(std::move(weights)),
        model(base->config()),
        tokenizer(texts),
        options(with),
        samplers(by),
        futures(to),
        cache_pages((int64_t{with.sampling.cache_mb} << 20) /
                    KvCache(model, 1, base->operators()).bytes()),
        with_ends(base, &texts, with.sampling) {}

  void run() {
    while (!stop) {
      Item item;
      {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return stop || !queue.empty(); });
        if (stop) return;
        item = std::move(queue.front());
        queue.pop_front();
        ++counts.works;
      }
      guarded(item.id, [&] {
        if (item.job) {
          serve(item.job, samplers.weights(item.job->sampler));
        } else {
          futures.finish(item.id, item.work());
        }
      });
      if (item.job && item.job->left > 0) give_up(*item.job);
    }
  }

  // What is thrown becomes the future's failure.
  void guarded(const std::string& id, const std::function<void()>& work) {
    try {
      work();
    } catch (const Refusal& refusal) {
      futures.fail(id, refusal.message, Blame::kUser);
    } catch (const Error& error) {
      futures.fail(id, error.what(),
                   error.code() == ExitCode::kUsage ? Blame::kUser : Blame::kServer);
    } catch (const std::exception& error) {
      futures.fail(id, error.what(), Blame::kServer);
    }
  }

  LocalSampler& local(bool endless) {
    if (!endless) return with_ends;
    if (!without_ends)
      without_ends = std::make_unique<LocalSampler>(base, nullptr, options.sampling);
    return *without_ends;
  }

  // The job, and those in the queue before the next work that want the same weights. Others may join
  // until some work waits.
  void serve(const JobPtr& first, const WeightsPtr& weights) {
    std::vector<JobPtr> jobs;  // by the number of the request
    GenerateOptions how;
    how.cancel = &stop;
    how.more = [&](WeightsVersion) {
      std::vector<GenerationRequest> out;
      constexpr size_t kMostJobs = 20000;  // the bookkeeping of a generate() grows with them
      if (jobs.empty()) {
        jobs.push_back(first);
        out.push_back(first->generation);
      }
      std::lock_guard lock(mutex);
      for (auto item = queue.begin();
           item != queue.end() && item->job && jobs.size() < kMostJobs;) {
        const bool same = item->job->request.endless == first->request.endless &&
                          samplers.holds(item->job->sampler, *weights);
        if (!same) {
          ++item;
          continue;
        }
        jobs.push_back(item->job);
        out.push_back(item->job->generation);
        item = queue.erase(item);
        ++counts.works;
      }
      return out;
    };
    how.drew = [&](int request, int index, const Sample& sample) {
      Job& job = *jobs[static_cast<size_t>(request)];
      const std::vector<TokenId>& stops = job.request.stop_tokens;
      if (std::find(stops.begin(), stops.end(), sample.tokens.back()) == stops.end()) return true;
      finish(job, index, sample, true, *weights);
      return false;
    };
    how.done = [&](int request, int index, const Sample& sample) {
      finish(*jobs[static_cast<size_t>(request)], index, sample,
             sample.finish == FinishReason::kStop, *weights);
    };
    LocalSampler& sampler = local(first->request.endless);
    std::string why = "the server ends";
    try {
      sampler.publish(weights);
      sampler.generate({}, how);
    } catch (const std::exception& error) {
      why = error.what();
    }
    for (const JobPtr& job : jobs) {
      if (job->left == 0) continue;
      futures.fail(job->id, why, Blame::kServer);
      give_up(*job);
    }
  }

  void finish(Job& job, int index, const Sample& sample, bool stopped, const Weights& weights) {
    SampleResult::Sequence& out = job.result.sequences[static_cast<size_t>(index)];
    out.stopped = stopped;
    out.tokens = sample.tokens;
    out.logprobs = sample.logprobs;
    {
      std::lock_guard lock(mutex);
      --counts.waiting_samples;
      ++counts.samples;
      counts.sampled_tokens += static_cast<int64_t>(sample.tokens.size());
    }
    if (--job.left > 0) return;
    guarded(job.id, [&] {
      if (job.request.prompt_logprobs)
        job.result.prompt_logprobs = prompt_logprobs(weights, job.request);
      futures.finish(job.id, std::move(job.result));
    });
  }

  void give_up(Job& job) {
    std::lock_guard lock(mutex);
    counts.waiting_samples -= std::exchange(job.left, 0);
  }

  // As no sampler would take it, before it is anybody else's trouble.
  void check(const Job& job) const {
    try {
      check_request(job.generation, model, !job.request.endless, "the prompt");
    } catch (const Error& error) {
      throw Refusal{400, error.what()};
    }
    const auto length = static_cast<int64_t>(job.generation.prompt.size());
    const int64_t needed = Scheduler::pages_needed(length, longest_sample(job.generation, model));
    if (needed <= cache_pages) return;
    throw Refusal{400, "a prompt of " + std::to_string(length) + " tokens with max_tokens " +
                           std::to_string(job.generation.sampling.max_tokens) +
                           " does not fit into the cache: lower max_tokens, or start the server "
                           "with a larger --cache-mb"};
  }
};

Engine::Engine(WeightsPtr base, const Tokenizer& tokenizer, const EngineOptions& options,
               Samplers& samplers, Futures& futures)
    : impl_(std::make_unique<Impl>(std::move(base), tokenizer, options, samplers, futures)) {
  impl_->thread = std::thread([impl = impl_.get()] { impl->run(); });
}

Engine::~Engine() {
  {
    std::lock_guard lock(impl_->mutex);
    impl_->stop = true;
    impl_->changed.notify_all();
  }
  impl_->thread.join();
}

void Engine::post(const std::string& id, std::function<Result()> work) {
  std::lock_guard lock(impl_->mutex);
  impl_->queue.push_back({id, std::move(work), nullptr});
  impl_->changed.notify_all();
}

void Engine::sample(const std::string& id, SampleRequest request, const Sampler& sampler) {
  const auto job = std::make_shared<Job>();
  job->id = id;
  job->sampler = sampler;
  job->left = request.samples;
  job->result.sequences.resize(static_cast<size_t>(request.samples));
  GenerationRequest& generation = job->generation;
  generation.prompt = request.prompt;
  generation.samples = request.samples;
  generation.sampling = request.sampling;
  if (generation.sampling.max_tokens == 0)
    generation.sampling.max_tokens = impl_->model.max_position;
  generation.seed = request.seed.value_or(
      mixed(impl_->options.seed, sampler.number, static_cast<uint64_t>(request.seq.value_or(0))));
  job->request = std::move(request);
  impl_->check(*job);
  std::lock_guard lock(impl_->mutex);
  if (impl_->counts.waiting_samples + job->left > impl_->options.queue)
    throw Refusal{429, "too many samples run or wait (--queue); try again in a moment"};
  impl_->counts.waiting_samples += job->left;
  impl_->queue.push_back({id, nullptr, job});
  impl_->changed.notify_all();
}

EngineStats Engine::stats() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->counts;
}

}  // namespace zeroth::tinker
