#include "rollout/fleet/worker.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <list>
#include <map>
#include <thread>
#include <tuple>

#include "core/background_threads.h"
#include "core/files.h"
#include "core/interrupted.h"
#include "core/parallel.h"
#include "core/stopwatch.h"
#include "core/temporary_folder.h"
#include "core/version.h"
#include "kernels/ops.h"
#include "model/formats/gguf_model.h"
#include "rollout/fleet/fields.h"
#include "rollout/local_sampler.h"

namespace zeroth::fleet {
namespace {

namespace fs = std::filesystem;
// A lease and how far it is. The sampling thread writes, others look.
struct Task {
  Lease lease;
  std::atomic<int64_t> drawn{0};
  std::atomic<bool> dropped{false};  // the coordinator does not want it any more
  std::vector<Sample> samples;
  SamplerStats did;  // Result::did
  int finished = 0;
};
using TaskPtr = std::shared_ptr<Task>;

// What a worker does under one hello. The caller's thread samples; others ask for leases, report
// progress, send results, follow the weights, and look for `stop`.
class Session {
 public:
  Session(const WorkerOptions& options, const std::atomic<bool>& stop, WorkerSummary& summary)
      : options_(options),
        stop_(stop),
        summary_(summary),
        polls_(options.link, ended_),
        reports_(options.link, ended_),
        results_(options.link, ended_) {}

  // True: the run has ended.
  bool run() {
    open();
    std::vector<std::thread> threads;
    const auto guarded = [this](void (Session::*loop)()) {
      return [this, loop] {
        const BackgroundThreads background;  // for weights that come while others are sampled with
        try {
          while (!ended_) (this->*loop)();
        } catch (const Interrupted&) {
        } catch (...) {
          end(std::current_exception());
        }
      };
    };
    threads.emplace_back(guarded(&Session::poll));
    threads.emplace_back(guarded(&Session::report));
    threads.emplace_back(guarded(&Session::deliver));
    threads.emplace_back(guarded(&Session::follow));
    threads.emplace_back([this] {
      while (!ended_) {
        if (stop_) end(nullptr);
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      }
    });
    try {
      sample();
    } catch (const Interrupted&) {
    } catch (...) {
      end(std::current_exception());
    }
    end(nullptr);
    for (std::thread& thread : threads) thread.join();
    close();
    if (error_) std::rethrow_exception(error_);
    return run_ended_;
  }

 private:
  void note(const std::string& line) const {
    if (options_.note) options_.note(line);
  }

  Hello hello() const {
    Hello out;
    out.identity.contract = kernels::contract_hash();
    out.name = options_.name;
    out.isa = kernels::isa();
    out.version = version_string();
    out.threads = num_threads();
    return out;
  }

  // Says hello and gets what sampling needs.
  void open() {
    Link link(options_.link, stop_);
    welcome_ = Welcome::from_json(link.call("POST", "/v1/hello", hello().to_json()));
    ++summary_.sessions;
    if (hash_of_config(welcome_.model, welcome_.element, welcome_.record_experts) !=
            welcome_.identity.config ||
        hash_of_files(welcome_.files) != welcome_.identity.tokenizer)
      fail("the model or tokenizer that came is not the one that was announced");
    model_ = PolicyConfig::from_json(welcome_.model, options_.link.url);
    if (!welcome_.files.empty()) {
      const TemporaryFolder folder("worker");  // the files while they are read
      // It names end tokens too.
      write_file_atomic(folder.path() / "config.json", welcome_.model.dump());
      for (const NamedFile& file : welcome_.files)
        write_file_atomic(folder.path() / file.name, link.blob(file.blob));
      tokenizer_ = load_tokenizer(folder.path());
    }
    weights_ = std::make_unique<WeightsCache>(options_.link, model_, ended_, welcome_.element,
                                              *options_.operators);
    note("joined " + options_.link.url + " as " + options_.name);
  }

  // Gives back what is not done. Best effort: a deadline does it otherwise.
  void close() {
    const WeightsCache::Stats stats = weights_->stats();
    summary_.weights.full += stats.full;
    summary_.weights.deltas += stats.deltas;
    summary_.weights.bytes += stats.bytes;
    summary_.weights.fetch_s += stats.fetch_s;
    try {
      LinkOptions once = options_.link;
      once.retry_s = 0;
      const std::atomic<bool> go{false};
      Link(once, go).call("POST", "/v1/release", {{"session", welcome_.session}}, 2);
    } catch (const Error&) {
    }
  }

  void end(std::exception_ptr error) {
    std::lock_guard lock(mutex_);
    if (error && !error_ && !ended_) error_ = error;
    ended_ = true;
    changed_.notify_all();
  }

  int64_t in_flight() const {  // samples; holding mutex_
    int64_t n = 0;
    for (const TaskPtr& task : tasks_)
      n += static_cast<int64_t>(task->lease.request.samples) - task->finished;
    return n;
  }

  // Seconds in which the coordinator answers what it need not wait for.
  double patience() const { return std::clamp(welcome_.lease_s / 2, 1.0, 30.0); }

  // --- leases
  void poll() {
    int64_t capacity = 0;
    {
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, std::chrono::milliseconds(200),
                        [&] { return ended_ || in_flight() < options_.engine.max_batch; });
      capacity = options_.engine.max_batch - in_flight();
    }
    if (ended_ || capacity < 1) return;
    // A connection that died without a word is given up before a lease of its would run out.
    const double wait = std::min(welcome_.poll_s, std::max(0.2, welcome_.lease_s / 2));
    const LeasesAsked asked{welcome_.session, capacity, weights_->newest(), wait};
    const auto given = LeasesGiven::from_json(
        polls_.call("POST", "/v1/leases", asked.to_json(), wait + patience()));
    if (given.finished) {
      run_ended_ = true;
      end(nullptr);
      return;
    }
    if (!given.leases.empty()) {
      std::lock_guard lock(mutex_);
      for (const Lease& lease : given.leases) {
        auto task = std::make_shared<Task>();
        task->lease = lease;
        task->samples.resize(lease.request.samples);
        tasks_.push_back(task);
        waiting_.push_back(std::move(task));
        ++summary_.leases;
      }
      changed_.notify_all();
    } else if (!given.weights.empty() && given.weights != weights_->newest()) {
      unless_gone([&] { weights_->get(given.weights); });
    }
  }

  // --- progress
  void report() {
    {
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, std::chrono::duration<double>(std::min(1.0, welcome_.lease_s / 4)),
                        [&] { return ended_.load(); });
    }
    Progress progress{welcome_.session, {}};
    std::vector<TaskPtr> reported;
    {
      std::lock_guard lock(mutex_);
      for (const TaskPtr& task : tasks_) {
        progress.tokens.emplace_back(task->lease.id, task->drawn.load());
        reported.push_back(task);
      }
    }
    if (reported.empty() || ended_) return;
    const Json answer = reports_.call("POST", "/v1/progress", progress.to_json(), patience());
    for (const Json& id : array_field(answer, "drop", 1 << 16)) {
      for (const TaskPtr& task : reported)
        if (id.is_number_integer() && task->lease.id == id.get<int64_t>()) task->dropped = true;
    }
  }

  // --- results
  void deliver() {
    TaskPtr task;
    {
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, std::chrono::milliseconds(200),
                        [&] { return ended_ || !done_.empty(); });
      if (done_.empty()) return;
      task = std::move(done_.front());
      done_.pop_front();
    }
    Result result{task->lease.id, welcome_.session, task->lease.weights, std::move(task->samples)};
    result.did = task->did;
    if (task->lease.follow) name_versions(result);
    if (options_.tamper) options_.tamper(task->lease, result);
    try {
      results_.call("PUT", "/v1/results/" + std::to_string(task->lease.id), result.to_json(),
                    2 * patience());
    } catch (const Refused& refused) {
      // It was withdrawn, or somebody was faster; anything else concerns the whole session.
      if (refused.status != 404) throw;
      std::lock_guard lock(mutex_);
      ++summary_.dropped;
    }
  }

  // Versions in the samples become numbers of the weights that were used, which are named.
  void name_versions(Result& result) {
    std::map<WeightsVersion, int64_t> numbers;
    for (const Sample& sample : result.samples)
      for (const VersionSegment& segment : sample.versions) numbers[segment.version] = 0;
    std::lock_guard lock(mutex_);
    for (auto& [version, number] : numbers) {
      number = static_cast<int64_t>(result.used.size());
      result.used.push_back(used_.at(version));
    }
    for (Sample& sample : result.samples)
      for (VersionSegment& segment : sample.versions) segment.version = numbers[segment.version];
  }

  void follow() {
    unless_gone([this] { weights_->follow(); });
  }

  // False: the weights that `fetch` was at are not kept any more, because newer ones have come.
  template <class Fetch>
  static bool unless_gone(const Fetch& fetch) {
    try {
      fetch();
      return true;
    } catch (const Refused& refused) {
      if (refused.status != 404) throw;
      return false;
    }
  }

  // --- sampling
  void sample() {
    std::unique_ptr<LocalSampler> sampler;
    while (!ended_) {
      std::string wanted;
      bool follow = false;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return ended_ || !waiting_.empty(); });
        if (ended_) return;
        wanted = waiting_.front()->lease.weights;
        follow = waiting_.front()->lease.follow;
      }
      std::string sha256;
      WeightsPtr weights;
      // A lease that follows begins with the newest: none is of weights that are newer than those.
      if (follow) std::tie(sha256, weights) = weights_->newest_held();
      if (weights) wanted = sha256;
      if (!weights && !unless_gone([&] { weights = weights_->get(wanted); })) {
        drop_waiting(wanted);  // with these weights the work is withdrawn
        continue;
      }
      if (sampler == nullptr) {
        EngineConfig engine = options_.engine;
        engine.record_experts = welcome_.record_experts;
        sampler = std::make_unique<LocalSampler>(weights, tokenizer_.get(), engine);
      } else {
        sampler->publish(weights);
      }
      note_used(wanted, *weights);
      weights = nullptr;
      generate(*sampler, wanted, follow);
      sampler->publish(nullptr);
    }
  }

  // Whether there are weights behind that version, which are published then.
  bool publish_newer(LocalSampler& sampler, WeightsVersion version) {
    const auto [sha256, weights] = weights_->newest_held();
    if (!weights || weights->version() <= version) return false;
    note_used(sha256, *weights);
    sampler.publish(weights);
    return true;
  }

  void note_used(const std::string& sha256, const Weights& weights) {
    std::lock_guard lock(mutex_);
    used_[weights.version()] = sha256;
    if (used_.size() > 2 * kMaxVersions) used_.erase(used_.begin());
  }

  void drop_waiting(const std::string& weights) {
    std::lock_guard lock(mutex_);
    const auto gone = [&](const TaskPtr& task) { return task->lease.weights == weights; };
    waiting_.erase(std::remove_if(waiting_.begin(), waiting_.end(), gone), waiting_.end());
    tasks_.remove_if(gone);
  }

  // All leases of these weights, or all that follow, also those that come meanwhile.
  void generate(LocalSampler& sampler, const std::string& weights, bool follow) {
    std::vector<TaskPtr> running;  // by the number of their request
    GenerateOptions options;
    options.cancel = &ended_;
    if (follow) options.weights = WeightsUse::kSwitch;
    const auto joins = [&](const Lease& lease) {
      return follow ? lease.follow : !lease.follow && lease.weights == weights;
    };
    options.more = [&](WeightsVersion version) {
      std::vector<GenerationRequest> out;
      // The sampler asks again when it has switched.
      if (follow && publish_newer(sampler, version)) return out;
      std::lock_guard lock(mutex_);
      while (!waiting_.empty() && joins(waiting_.front()->lease)) {
        running.push_back(std::move(waiting_.front()));
        waiting_.pop_front();
        out.push_back(running.back()->lease.request);
      }
      return out;
    };
    options.drew = [&](int request, int, const Sample&) {
      Task& task = *running[request];
      task.drawn.fetch_add(1, std::memory_order_relaxed);
      return !task.dropped.load(std::memory_order_relaxed) || forget(running[request]);
    };
    options.done = [&](int request, int index, const Sample& sample) {
      const TaskPtr& task = running[request];
      task->samples[index] = sample;
      std::lock_guard lock(mutex_);
      ++summary_.samples;
      summary_.tokens += static_cast<int64_t>(sample.tokens.size());
      // Also when nobody wants it any more: that is heard by its result.
      if (++task->finished == task->lease.request.samples) {
        note_work(sampler.stats(), *task);
        done_.push_back(task);
        tasks_.remove(task);
      }
      changed_.notify_all();
    };
    const double start = steady_now();
    sampler.generate({}, options);
    summary_.sampling_s += steady_now() - start;
  }

  // Forward calls and drafts since the last task that was done; holding mutex_.
  void note_work(const SamplerStats& now, Task& task) {
    task.did.forward_calls = now.forward_calls - told_.forward_calls;
    task.did.draft_tokens = now.draft_tokens - told_.draft_tokens;
    task.did.draft_accepted = now.draft_accepted - told_.draft_accepted;
    summary_.draft_tokens += task.did.draft_tokens;
    summary_.draft_accepted += task.did.draft_accepted;
    told_ = now;
  }

  // Always false: what drew() says of a sample that nobody wants.
  bool forget(const TaskPtr& task) {
    std::lock_guard lock(mutex_);
    const size_t before = tasks_.size();
    tasks_.remove(task);
    if (tasks_.size() < before) ++summary_.dropped;
    return false;
  }

  const WorkerOptions& options_;
  const std::atomic<bool>& stop_;
  WorkerSummary& summary_;
  std::atomic<bool> ended_{false}, run_ended_{false};
  Link polls_, reports_, results_;
  Welcome welcome_;
  PolicyConfig model_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<WeightsCache> weights_;

  std::mutex mutex_;  // guards what follows, and summary_ while threads run
  std::condition_variable changed_;
  std::map<WeightsVersion, std::string> used_;  // hashes of weights that samples were drawn by
  std::list<TaskPtr> tasks_;                    // not delivered yet
  std::deque<TaskPtr> waiting_;                 // of them, those not begun
  std::deque<TaskPtr> done_;                    // complete, to be sent
  SamplerStats told_;                           // at the last of them
  std::exception_ptr error_;
};

}  // namespace

WorkerSummary work(const WorkerOptions& options, const std::atomic<bool>& stop) {
  WorkerSummary summary;
  while (!stop) {
    try {
      Session session(options, stop, summary);
      if (session.run() && !options.stay) break;
    } catch (const Interrupted&) {
      break;
    } catch (const Refused& refused) {
      // A session that is not known: the coordinator is a new one. Anything else is final.
      if (refused.status != 409 || refused.field != "session") throw;
      if (options.note) options.note("the run has a new coordinator; joining again");
    }
  }
  return summary;
}

}  // namespace zeroth::fleet
