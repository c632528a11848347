// A trainer and thousands of workers in virtual time, without a model: build/fleet_crowd [WORKERS
// [BATCHES]].
//
// The book of leases is the product's; workers are a few numbers each. They draw at speeds that
// differ tenfold, die at random moments and come back, hang with their leases, and answer late.
// Printed and checked: leases out, pieces that wait, memory and time a worker, that every piece
// counts once, and that no piece waits longer than a lease may take.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <queue>
#include <string>
#include <vector>

#include "core/rng.h"
#include "core/stopwatch.h"
#include "rollout/fleet/lease_book.h"

namespace {

using namespace zeroth;
using namespace zeroth::fleet;

constexpr int kSamples = 8, kCapacity = 32;  // of a group; of a worker
constexpr double kLease = 30, kReport = 5, kTick = 1;
constexpr double kDies = 900, kHangs = 1800, kBack = 20, kHung = 120;  // seconds, means

double resident_mb() {
  std::ifstream file("/proc/self/statm");
  double pages = 0;
  file >> pages >> pages;
  return pages * static_cast<double>(::sysconf(_SC_PAGESIZE)) / 1e6;
}

enum class What { kAsk, kReport, kDone, kDie, kHang, kBack, kTick };
struct Event {
  double time = 0;
  What what = What::kTick;
  int worker = 0;
  int life = 0;  // of the worker that it concerns
  LeaseId lease = 0;
  bool operator<(const Event& other) const { return time > other.time; }  // the earliest first
};

struct Task {
  WorkId work = 0;
  double begun = 0, tokens_per_s = 0;
};
struct Worker {
  std::string session;
  int life = 0;
  double speed = 1, hung_until = 0;
  bool there = true;
  std::map<LeaseId, Task> tasks;
};

class Crowd {
 public:
  explicit Crowd(int workers) : book_({.lease_s = kLease}), rng_(StreamKey{1, 2, 3, 4}) {
    workers_.resize(workers);
    for (int w = 0; w < workers; ++w) {
      workers_[w].speed = std::pow(10.0, rng_.uniform());
      begin_life(w, rng_.uniform() * 10);
    }
    at({.time = kTick});
  }

  // One batch of two groups a worker: until every piece has its result.
  void batch() {
    const int groups = 2 * static_cast<int>(workers_.size());
    for (int i = 0; i < groups; ++i) book_.add(kSamples);
    counted_.clear();
    for (int w = 0; w < static_cast<int>(workers_.size()); ++w)
      if (workers_[w].there) at({now_, What::kAsk, w, workers_[w].life});
    const double start = now_, took = steady_now();
    while (!book_.all_done()) {
      const Event event = events_.top();
      events_.pop();
      now_ = event.time;
      ++events_seen_;
      take(event);
      look();
      if (now_ - start > 3600) return fail("a batch takes more than an hour");
    }
    seconds_ += now_ - start;
    real_s_ += steady_now() - took;
    if (static_cast<int>(counted_.size()) != groups) fail("pieces were lost or doubled");
    book_.withdraw_all();
    for (Worker& worker : workers_) worker.tasks.clear();
    now_ += 5;  // the trainer updates
  }

  int report(int batches, double before_mb) const {
    const LeaseCounts counts = book_.counts();
    const auto workers = static_cast<double>(workers_.size());
    std::printf(
        "%d workers, %d batches of %d groups in %.0f virtual seconds (%.1f real): %lld leases, "
        "%lld ran out, %lld given back, %lld late duplicates\n",
        static_cast<int>(workers), batches, 2 * static_cast<int>(workers), seconds_, real_s_,
        static_cast<long long>(counts.issued), static_cast<long long>(counts.expired),
        static_cast<long long>(counts.returned), static_cast<long long>(counts.duplicates));
    std::printf(
        "at most %lld leases out and %lld pieces waiting; %lld deaths, %lld hangs; %.1f us an "
        "event, "
        "longest %.1f ms; %.1f KB a worker\n",
        static_cast<long long>(most_lent_), static_cast<long long>(most_waiting_),
        static_cast<long long>(deaths_), static_cast<long long>(hangs_),
        1e6 * real_s_ / static_cast<double>(events_seen_), 1e3 * longest_s_,
        (resident_mb() - before_mb) * 1e3 / workers);
    for (const std::string& fault : faults_) std::printf("BROKEN: %s\n", fault.c_str());
    return faults_.empty() ? 0 : 1;
  }

 private:
  void at(const Event& event) { events_.push(event); }
  void fail(const std::string& why) {
    if (faults_.size() < 10) faults_.push_back(why);
  }
  double soon(double mean) { return -mean * std::log(1 - rng_.uniform()); }

  void begin_life(int w, double delay) {
    Worker& worker = workers_[w];
    worker.session = std::to_string(w) + "/" + std::to_string(++worker.life);
    worker.there = true;
    worker.hung_until = 0;
    worker.tasks.clear();
    const double start = now_ + delay;
    at({start, What::kAsk, w, worker.life});
    at({start + kReport, What::kReport, w, worker.life});
    at({start + soon(kDies), What::kDie, w, worker.life});
    at({start + soon(kHangs), What::kHang, w, worker.life});
  }

  void take(const Event& event) {
    const double start = steady_now();
    if (event.what == What::kTick) {
      book_.expire(now_);
      idle_ask();
      at({now_ + kTick});
    } else if (workers_[event.worker].life == event.life) {
      act(event, workers_[event.worker]);
    }
    longest_s_ = std::max(longest_s_, steady_now() - start);
  }

  void act(const Event& event, Worker& worker) {
    const bool hung = now_ < worker.hung_until;
    switch (event.what) {
      case What::kAsk:
        if (hung) return at({worker.hung_until, What::kAsk, event.worker, event.life});
        return ask(event.worker, worker);
      case What::kReport:
        if (!hung) report_progress(worker);
        return at({now_ + kReport, What::kReport, event.worker, event.life});
      case What::kDone:
        if (hung)
          return at({worker.hung_until, What::kDone, event.worker, event.life, event.lease});
        return deliver(event, worker);
      case What::kDie:
        ++deaths_;
        worker.there = false;
        // Half of them say so; the leases of the others run out.
        if (rng_.uniform() < 0.5) book_.release(worker.session);
        ++worker.life;
        return at({now_ + soon(kBack), What::kBack, event.worker, worker.life});
      case What::kHang:
        ++hangs_;
        worker.hung_until = now_ + soon(kHung);
        return at({now_ + soon(kHangs), What::kHang, event.worker, event.life});
      case What::kBack:
        return begin_life(event.worker, 0);
      case What::kTick:
        return;
    }
  }

  // As a coordinator does: a share of the batch for everybody who is there.
  void ask(int w, Worker& worker) {
    const auto all = static_cast<int64_t>(2 * workers_.size() * kSamples);
    const auto share =
        (all + static_cast<int64_t>(workers_.size()) - 1) / static_cast<int64_t>(workers_.size()) -
        book_.held_samples(worker.session);
    const int64_t capacity = std::min<int64_t>(kCapacity, share);
    if (capacity < 1) return;
    for (const LentLease& lent : book_.lend(worker.session, capacity, now_)) {
      const double tokens = 100 + 900 * rng_.uniform() * rng_.uniform();
      worker.tasks[lent.lease] = {lent.work, now_, 10 * worker.speed};
      at({now_ + tokens / (10 * worker.speed), What::kDone, w, worker.life, lent.lease});
    }
  }

  void report_progress(Worker& worker) {
    for (auto task = worker.tasks.begin(); task != worker.tasks.end();) {
      const auto drawn =
          static_cast<int64_t>((now_ - task->second.begun) * task->second.tokens_per_s);
      const bool drop =
          book_.progress(task->first, worker.session, drawn, now_) == ProgressAnswer::kDrop;
      task = drop ? worker.tasks.erase(task) : std::next(task);
    }
  }

  void deliver(const Event& event, Worker& worker) {
    const auto task = worker.tasks.find(event.lease);
    if (task == worker.tasks.end()) return;  // dropped
    const WorkId work = task->second.work;
    worker.tasks.erase(task);
    if (book_.complete(event.lease, worker.session, now_) == ResultAnswer::kFirst &&
        ++counted_[work] != 1)
      fail("a piece counted twice");
    ask(event.worker, worker);
  }

  // Long polls of those who have nothing: they hear of pieces that wait again.
  void idle_ask() {
    for (size_t n = 0; n < workers_.size() && book_.waiting_samples() > 0; ++n) {
      const int w = static_cast<int>(next_idle_++ % workers_.size());
      if (workers_[w].there && workers_[w].tasks.empty() && now_ >= workers_[w].hung_until)
        ask(w, workers_[w]);
    }
  }

  void look() {
    const LeaseCounts counts = book_.counts();
    most_lent_ = std::max(most_lent_, counts.lent);
    most_waiting_ = std::max(most_waiting_, counts.waiting);
    const auto all = static_cast<int64_t>(2 * workers_.size());
    if (counts.waiting + counts.lent + counts.done != all) fail("pieces do not add up");
  }

  LeaseBook book_;
  Rng rng_;
  double now_ = 0, seconds_ = 0, real_s_ = 0, longest_s_ = 0;
  std::vector<Worker> workers_;
  std::priority_queue<Event> events_;
  std::map<WorkId, int> counted_;
  int64_t most_lent_ = 0, most_waiting_ = 0, deaths_ = 0, hangs_ = 0, events_seen_ = 0;
  size_t next_idle_ = 0;
  std::vector<std::string> faults_;
};

}  // namespace

int main(int argc, char** argv) {
  const int workers = argc > 1 ? std::atoi(argv[1]) : 10000;
  const int batches = argc > 2 ? std::atoi(argv[2]) : 10;
  if (workers < 1 || batches < 1) {
    std::fprintf(stderr, "usage: fleet_crowd [WORKERS [BATCHES]]\n");
    return 2;
  }
  const double before = resident_mb();
  Crowd crowd(workers);
  for (int i = 0; i < batches; ++i) crowd.batch();
  return crowd.report(batches, before);
}
