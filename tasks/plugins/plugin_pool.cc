#include "tasks/plugins/plugin_pool.h"

#include <signal.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>

#include "core/error.h"

namespace zeroth {
namespace {

using Clock = std::chrono::steady_clock;

// One grade() or ask() under way.
struct Call {
  bool grading = true;
  const char* op = "grade";
  bool patient = true;  // waits for the end of an outage
  Json request;         // ask: what is sent; grading: made from the items
  const std::vector<Json>* items = nullptr;
  std::vector<size_t> unit_of;  // by item: what it is graded together with
  std::vector<PluginOutcome> outcomes;
  size_t missing = 0;  // outcomes not known yet
  int failures_in_a_row = 0;
  std::condition_variable done;  // missing == 0
};

// A request to be sent: some items of a call.
struct Job {
  Call* call = nullptr;
  std::vector<size_t> items;
  int attempts = 0;
};

bool worth_repeating(PluginFaultKind kind) {
  return kind != PluginFaultKind::kTimeout && kind != PluginFaultKind::kLate &&
         kind != PluginFaultKind::kReported;
}

std::string shorten(const std::string& text) {
  return text.size() <= 200 ? text : text.substr(0, 197) + "...";
}

}  // namespace

const char* to_string(PluginFaultKind kind) {
  switch (kind) {
    case PluginFaultKind::kTimeout:
      return "timeout";
    case PluginFaultKind::kLate:
      return "late";
    case PluginFaultKind::kCrashed:
      return "crashed";
    case PluginFaultKind::kClosed:
      return "closed";
    case PluginFaultKind::kGarbage:
      return "garbage";
    case PluginFaultKind::kUnreachable:
      return "unreachable";
    case PluginFaultKind::kHttpStatus:
      return "http_status";
    case PluginFaultKind::kReported:
      return "reported";
  }
  return "unknown";
}

struct PluginPool::Impl {
  std::function<std::unique_ptr<PluginChannel>(int)> make;
  Json hello;
  PluginPoolOptions options;
  std::vector<std::thread> threads;

  std::mutex mutex;
  std::condition_variable work;  // jobs or stop
  std::deque<Job> jobs;          // guarded by mutex, as are the calls they point to
  bool stop = false;
  std::optional<Clock::time_point> outage;  // since when nothing is answered
  bool down = false;  // the last grading was given up: probe before sending much
  int64_t next_id = 1;

  void serve(int index);
  bool wait_backoff(int failures);
  void start(PluginChannel& channel);
  void run(PluginChannel& channel, const Job& job);
  void settle(const Job& job, const PluginFault& fault);
  bool wait_for_outage(const Job& job, const PluginFault& fault);
  void give(Call& call, size_t item, PluginOutcome outcome);
  Json ask(Json request, int attempts, bool patient);
  void submit(Call& call, std::unique_lock<std::mutex>& lock);
  int64_t new_id() {
    std::lock_guard lock(mutex);
    return next_id++;
  }
};

// Needs the mutex. True when the job was put back, to be sent again when the server is there again.
bool PluginPool::Impl::wait_for_outage(const Job& job, const PluginFault& fault) {
  if (!fault.outage || !job.call->patient || options.checker_patience <= 0 || stop) return false;
  const auto now = Clock::now();
  if (!outage) {
    outage = now;
    std::fprintf(stderr, "reward server: %s; waiting for it, up to %.4g s\n", fault.what(),
                 options.checker_patience);
  }
  if (std::chrono::duration<double>(now - *outage).count() >= options.checker_patience)
    return false;
  Job again = job;
  --again.attempts;  // this one does not count
  jobs.push_front(std::move(again));
  work.notify_all();
  return true;
}

// Needs the mutex.
void PluginPool::Impl::give(Call& call, size_t item, PluginOutcome outcome) {
  if (outcome.fault.empty()) outage.reset();
  call.outcomes[item] = std::move(outcome);
  if (--call.missing == 0) call.done.notify_all();
}

// Sleeps before a worker is started again; false when the pool ends meanwhile.
bool PluginPool::Impl::wait_backoff(int failures) {
  std::unique_lock lock(mutex);
  if (failures > 0) {
    const double seconds =
        std::min(options.max_backoff,
                 options.backoff * static_cast<double>(int64_t{1} << std::min(failures - 1, 30)));
    work.wait_for(lock, std::chrono::duration<double>(seconds), [&] { return stop; });
  }
  return !stop;
}

void PluginPool::Impl::start(PluginChannel& channel) {
  channel.open();
  Json request = hello;
  request["id"] = new_id();
  channel.call(request, options.start_timeout, 0, [&](const Json& reply) {
    if (reply.contains("error")) {
      throw PluginFault(PluginFaultKind::kReported, shorten(reply["error"].dump()));
    }
    return true;
  });
}

// Sends one job and hands out what comes. Throws PluginFault; outcomes given before it count.
void PluginPool::Impl::run(PluginChannel& channel, const Job& job) {
  Call& call = *job.call;
  Json request = call.grading ? Json{{"op", call.op}} : call.request;
  request["id"] = new_id();
  if (call.grading) {
    Json batch = Json::array();
    for (const size_t item : job.items) batch.push_back((*call.items)[item]);
    request["batch"] = std::move(batch);
  }
  size_t taken = 0;
  const TakeReply take = [&](const Json& reply) {
    if (reply.contains("error")) {
      throw PluginFault(PluginFaultKind::kReported, shorten(reply["error"].dump()));
    }
    if (!call.grading) {
      std::lock_guard lock(mutex);
      give(call, job.items[0], {reply, "", ""});
      return true;
    }
    const auto results = reply.find("results");
    const bool more = reply.contains("more") && reply["more"] == true;
    if (results == reply.end() || !results->is_array() ||
        results->size() > job.items.size() - taken ||
        (!more && results->size() != job.items.size() - taken)) {
      throw PluginFault(PluginFaultKind::kGarbage,
                        "no \"results\" list with one entry for each of " +
                            std::to_string(job.items.size()) + " completions: " +
                            shorten(reply.dump(-1, ' ', false, Json::error_handler_t::replace)));
    }
    std::lock_guard lock(mutex);
    for (const Json& result : *results) give(call, job.items[taken++], {result, "", ""});
    call.failures_in_a_row = 0;
    return !more || taken == job.items.size();
  };
  try {
    channel.call(request, options.timeout, options.grace, take);
  } catch (const PluginFault& fault) {
    settle({job.call,
            {job.items.begin() + static_cast<ptrdiff_t>(taken), job.items.end()},
            job.attempts + 1},
           fault);
    throw;
  }
}

// Decides what becomes of the unanswered items of a failed request.
void PluginPool::Impl::settle(const Job& job, const PluginFault& fault) {
  std::lock_guard lock(mutex);
  Call& call = *job.call;
  const PluginOutcome outcome{nullptr, to_string(fault.kind), fault.what()};
  const auto give_up = [&](const Job& lost) {
    for (const size_t item : lost.items) give(call, item, outcome);
  };
  if (job.items.empty() || wait_for_outage(job, fault)) return;
  // Many failures without any success: the plug-in is broken, and waiting for each would stop the
  // run as surely as a crash.
  if (call.grading && ++call.failures_in_a_row >= options.give_up) {
    down = true;
    std::deque<Job> rest;
    for (Job& other : jobs) {
      if (other.call == &call)
        give_up(other);
      else
        rest.push_back(std::move(other));
    }
    jobs.swap(rest);
    give_up(job);
    return;
  }
  const bool one_unit =
      !call.grading || call.unit_of[job.items.front()] == call.unit_of[job.items.back()];
  if (!one_unit) {
    for (size_t i = 0; i < job.items.size();) {
      Job unit{&call, {}, 1};
      const size_t number = call.unit_of[job.items[i]];
      while (i < job.items.size() && call.unit_of[job.items[i]] == number)
        unit.items.push_back(job.items[i++]);
      jobs.push_back(std::move(unit));
    }
  } else if (job.attempts <= options.retries && (worth_repeating(fault.kind) || !call.grading)) {
    jobs.push_back(job);
  } else {
    give_up(job);
  }
  work.notify_all();
}

void PluginPool::Impl::serve(int index) {
  // Writing to a worker that is gone must be an error code.
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
  const std::unique_ptr<PluginChannel> channel = make(index);
  bool ready = false;
  int failures = 0;
  for (;;) {
    Job job;
    {
      std::unique_lock lock(mutex);
      work.wait(lock, [&] { return stop || !jobs.empty(); });
      if (stop) break;
      job = std::move(jobs.front());
      jobs.pop_front();
    }
    try {
      if (!ready) {
        if (!wait_backoff(failures)) break;
        try {
          start(*channel);
        } catch (const PluginFault& fault) {
          settle({job.call, job.items, job.attempts + 1}, fault);
          throw;
        }
        ready = true;
      }
      run(*channel, job);
      failures = 0;
    } catch (const PluginFault& fault) {
      if (fault.kind == PluginFaultKind::kReported && ready) {
        failures = 0;
      } else if (fault.kind != PluginFaultKind::kLate) {
        channel->close();
        ready = false;
        ++failures;
      }
    }
  }
  channel->close();
}

void PluginPool::Impl::submit(Call& call, std::unique_lock<std::mutex>& lock) {
  work.notify_all();
  call.done.wait(lock, [&] { return call.missing == 0; });
}

PluginPool::PluginPool(std::function<std::unique_ptr<PluginChannel>(int)> make, Json hello,
                       PluginPoolOptions options)
    : impl_(std::make_unique<Impl>()) {
  impl_->make = std::move(make);
  impl_->hello = std::move(hello);
  impl_->options = options;
  if (impl_->options.workers <= 0) {
    impl_->options.workers = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  }
  for (int i = 0; i < impl_->options.workers; ++i) {
    impl_->threads.emplace_back([this, i] { impl_->serve(i); });
  }
}

PluginPool::~PluginPool() {
  {
    std::lock_guard lock(impl_->mutex);
    impl_->stop = true;
  }
  impl_->work.notify_all();
  for (std::thread& thread : impl_->threads) thread.join();
}

// A plug-in that cannot even start will not do better at once: no repeats.
Json PluginPool::greet() { return impl_->ask(impl_->hello, impl_->options.retries, false); }

Json PluginPool::ask(Json request) { return impl_->ask(std::move(request), 0, true); }

Json PluginPool::Impl::ask(Json request, int attempts, bool patient) {
  Call call;
  call.grading = false;
  call.patient = patient;
  call.request = std::move(request);
  call.outcomes.resize(1);
  call.missing = 1;
  std::unique_lock lock(mutex);
  jobs.push_front({&call, {0}, attempts});
  submit(call, lock);
  const PluginOutcome& outcome = call.outcomes[0];
  if (!outcome.fault.empty()) {
    fail("the plug-in gave no answer (" + outcome.fault + "): " + outcome.detail,
         "try it by hand: it must answer each JSON line with one JSON line; docs/tasks.md");
  }
  return outcome.result;
}

std::vector<PluginOutcome> PluginPool::grade(const std::vector<Json>& items,
                                             const std::vector<size_t>& starts, const char* op) {
  if (items.empty()) return {};
  Call call;
  call.op = op;
  call.items = &items;
  call.outcomes.resize(items.size());
  call.missing = items.size();
  const auto workers = static_cast<size_t>(impl_->options.workers);
  const size_t share = (items.size() + workers - 1) / workers;
  const size_t size = std::min(static_cast<size_t>(impl_->options.batch), share);
  std::unique_lock lock(impl_->mutex);
  // After a batch that was given up, one more failure is enough until something works again.
  if (impl_->down) call.failures_in_a_row = impl_->options.give_up - 1;
  impl_->down = false;
  call.unit_of.resize(items.size());
  Job job{&call, {}, 0};
  for (size_t unit = 0; unit < starts.size(); ++unit) {
    const size_t end = unit + 1 < starts.size() ? starts[unit + 1] : items.size();
    if (!job.items.empty() && job.items.size() + end - starts[unit] > size) {
      impl_->jobs.push_back(std::move(job));
      job = Job{&call, {}, 0};
    }
    for (size_t i = starts[unit]; i < end; ++i) {
      call.unit_of[i] = unit;
      job.items.push_back(i);
    }
  }
  impl_->jobs.push_back(std::move(job));
  impl_->submit(call, lock);
  return std::move(call.outcomes);
}

}  // namespace zeroth
