#include "rl/elastic_pipeline.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "core/interrupted.h"
#include "core/stopwatch.h"

namespace zeroth {
namespace {

constexpr auto kLook = std::chrono::milliseconds(50);  // between two looks at a stop
constexpr size_t kMostSkips = 1100;                    // prompts in a row that are left out

}  // namespace

ElasticPipeline::ElasticPipeline(Rollouts& rollouts, Sampler& sampler, const RunConfig& config,
                                 ElasticOptions options)
    : rollouts_(rollouts),
      sampler_(sampler),
      batch_(config.prompts_per_step),
      samples_(config.samples_per_prompt),
      most_staleness_(config.async.max_staleness),
      most_dropped_(int64_t{config.dynamic_sampling.max_rounds} * config.prompts_per_step),
      switches_(config.async.switch_in_flight),
      steps_(config.steps),
      options_(std::move(options)),
      pace_(batch_, most_staleness_) {
  if (!options_.replay.empty()) scan_replayed();
  sampler_thread_ = std::thread([this] { sample(); });
  errand_thread_ = std::thread([this] { errands(); });
}

ElasticPipeline::~ElasticPipeline() {
  {
    std::lock_guard lock(mutex_);
    stop_ = cancel_ = true;
    changed_.notify_all();
  }
  sampler_thread_.join();
  errand_thread_.join();
}

void ElasticPipeline::begin(int64_t step, const WeightsPtr& weights) {
  if (journal_ == nullptr) load_journal(step);
  {
    std::lock_guard lock(mutex_);
    now_ = step;
    training_ = 0;
    begun_[weights->version()] = step;
    std::erase_if(begun_, [&](const auto& b) { return b.second < step - most_staleness_ - 1; });
    if (replays(step)) {
      kept_[weights->version()] = weights;
      std::erase_if(kept_, [&](const auto& k) { return begun_.count(k.first) == 0; });
      return;
    }
  }
  kept_.clear();
  local_ = nullptr;
  sampler_.publish(weights);
  std::lock_guard lock(mutex_);
  paused_ = cancel_ = false;
  changed_.notify_all();
}

// ---- sampling

int64_t ElasticPipeline::out() const {
  return training_ +
         static_cast<int64_t>(grading_.size() + flights_.size() + complete_.size() + ready_.size());
}

bool ElasticPipeline::may_admit() const {
  if (paused_ || cancel_ || error_ || drawn_.empty()) return false;
  if (out() >= pace_.most(now_, steps_)) return false;
  return options_.most_in_flight == 0 || flying_ == 0 ||
         flying_ + samples_ <= options_.most_in_flight;
}

bool ElasticPipeline::may_draw() const {
  return !paused_ && !cancel_ && !error_ && static_cast<int>(drawn_.size()) < batch_;
}

int64_t ElasticPipeline::step_of(WeightsVersion version) const {
  const auto found = begun_.find(version);
  return found == begun_.end() ? now_ : found->second;
}

int64_t ElasticPipeline::due_of(const Group& group) const {
  int64_t first = now_;
  for (const Sample& sample : group.samples)
    first = std::min(first, step_of(first_version(sample)));
  return first + most_staleness_;
}

int64_t ElasticPipeline::staleness(int64_t step, WeightsVersion, WeightsVersion version) const {
  std::lock_guard lock(mutex_);
  return step - step_of(version);
}

int64_t ElasticPipeline::discarded() const {
  std::lock_guard lock(mutex_);
  return admitted_ - settled_ - (out() - training_) - static_cast<int64_t>(dropped_.size());
}

GenerationRequest ElasticPipeline::request_of(const Entry& entry) const {
  return rollouts_.request_of(entry.group, static_cast<uint32_t>(entry.draw / batch_),
                              static_cast<uint32_t>(entry.draw % batch_));
}

std::vector<GenerationRequest> ElasticPipeline::admit(WeightsVersion version) {
  std::vector<GenerationRequest> out;
  std::lock_guard lock(mutex_);
  worked_ = sampler_.stats();
  while (may_admit()) {
    Entry entry = std::move(drawn_.front());
    drawn_.pop_front();
    out.push_back(request_of(entry));
    entry.due = step_of(version) + most_staleness_;
    entry.missing = samples_;
    entry.group.samples.resize(samples_);
    flying_ += samples_;
    ++admitted_;
    flights_.emplace(requests_++, std::move(entry));
  }
  if (!out.empty()) changed_.notify_all();
  return out;
}

void ElasticPipeline::arrived(int request, int index, const Sample& sample) {
  std::lock_guard lock(mutex_);
  const auto found = flights_.find(request);
  Entry& entry = found->second;
  entry.group.samples[index] = sample;
  --flying_;
  if (--entry.missing > 0) return;
  complete_.push_back(std::move(entry));
  flights_.erase(found);
  changed_.notify_all();
}

void ElasticPipeline::sample() {
  GenerateOptions options;
  options.weights = switches_ ? WeightsUse::kSwitch : WeightsUse::kNewest;
  options.cancel = &cancel_;
  options.more = [this](WeightsVersion version) { return admit(version); };
  options.done = [this](int request, int index, const Sample& sample) {
    arrived(request, index, sample);
  };
  Lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stop_ || may_admit(); });
    if (stop_) return;
    sampling_ = true;
    requests_ = 0;
    lock.unlock();
    std::exception_ptr error;
    try {
      sampler_.generate({}, options);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    sampling_ = false;
    for (const auto& [request, entry] : flights_) reopen(entry);
    flights_.clear();
    flying_ = 0;
    if (error) error_ = error;
    changed_.notify_all();
  }
}

// Its problem is drawn again.
void ElasticPipeline::reopen(const Entry& entry) {
  handed_.open.insert(entry.draw);
  handed_.open.insert(entry.skipped.begin(), entry.skipped.end());
  --admitted_;
}

// ---- problems and grades

void ElasticPipeline::errands() {
  Lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stop_ || (!error_ && !complete_.empty()) || may_draw(); });
    if (stop_) return;
    try {
      if (!complete_.empty()) {
        grade(lock);
      } else {
        draw(lock);
      }
    } catch (...) {
      if (!lock.owns_lock()) lock.lock();
      error_ = std::current_exception();
    }
    grading_.clear();
    drawing_ = false;
    changed_.notify_all();
  }
}

void ElasticPipeline::grade(Lock& lock) {
  std::deque<Entry> entries;
  entries.swap(complete_);
  for (const Entry& entry : entries) grading_.push_back(entry.due);
  lock.unlock();
  std::vector<Group> groups;
  for (Entry& entry : entries) groups.push_back(std::move(entry.group));
  rollouts_.grade(groups, &stop_);
  lock.lock();
  for (size_t i = 0; i < entries.size(); ++i) {
    entries[i].group = std::move(groups[i]);
    entries[i].due = due_of(entries[i].group);
    ready_.push_back(std::move(entries[i]));
  }
}

void ElasticPipeline::draw(Lock& lock) {
  drawing_ = true;
  Entry entry;
  entry.draw = handed_.take();
  entry.problem = rollouts_.draw_problem(entry.draw, taken_problems());
  lock.unlock();
  auto group = rollouts_.prepare(entry.problem, &stop_);
  lock.lock();
  if (!group) {
    skipping_.push_back(entry.draw);
    if (skipping_.size() > kMostSkips) rollouts_.fail_skips(static_cast<int64_t>(skipping_.size()));
    return;
  }
  entry.group = std::move(*group);
  entry.skipped = std::exchange(skipping_, {});
  drawn_.push_back(std::move(entry));
}

// Problems that are on their way already, for a curriculum.
std::vector<int64_t> ElasticPipeline::taken_problems() const {
  std::vector<int64_t> out;
  for (const auto* entries : {&drawn_, &complete_, &ready_}) {
    for (const Entry& entry : *entries) out.push_back(entry.problem);
  }
  for (const auto& [request, entry] : flights_) out.push_back(entry.problem);
  return out;
}

// ---- steps

// Groups without signal leave their place to others, as many as dynamic sampling allows.
void ElasticPipeline::drop_constant() {
  for (auto at = ready_.begin(); at != ready_.end();) {
    if (!at->group.zero_variance || static_cast<int64_t>(dropped_.size()) >= most_dropped_) {
      ++at;
      continue;
    }
    dropped_.push_back(std::move(*at));
    at = ready_.erase(at);
    changed_.notify_all();
  }
}

bool ElasticPipeline::try_take(int64_t step, std::vector<Entry>& entries) {
  drop_constant();
  std::vector<int64_t> ready, out;
  for (const Entry& entry : ready_) ready.push_back(entry.due);
  for (const auto& [request, entry] : flights_) out.push_back(entry.due);
  for (const Entry& entry : complete_) out.push_back(entry.due);
  out.insert(out.end(), grading_.begin(), grading_.end());
  const auto chosen = choose_groups(ready, out, step, batch_, most_staleness_);
  if (chosen.empty()) return false;
  for (const size_t i : chosen) entries.push_back(std::move(ready_[i]));
  for (auto i = chosen.rbegin(); i != chosen.rend(); ++i)
    ready_.erase(ready_.begin() + static_cast<std::ptrdiff_t>(*i));
  for (Entry& entry : dropped_) entries.push_back(std::move(entry));
  dropped_.clear();
  training_ = batch_;
  return true;
}

Rollout ElasticPipeline::take(int64_t step, const std::atomic<bool>* stop) {
  double seconds = 0;
  std::vector<Entry> entries;
  {
    const Stopwatch watch(seconds);
    Lock lock(mutex_);
    asked_ = stop;
    if (replays(step)) {
      lock.unlock();
      return take_recorded(stop);
    }
    bool waited = false;
    while (!try_take(step, entries)) {
      if (error_) std::rethrow_exception(error_);
      if (stop != nullptr && stop->load()) give_up();
      check_stop(stop, "sampling");
      waited = true;
      changed_.wait_for(lock, kLook);
    }
    pace_.took(waited, static_cast<int64_t>(ready_.size() + complete_.size()));
    changed_.notify_all();
  }
  last_record_ = describe(step, entries);
  journal(last_record_);
  Rollout rollout = settle(std::move(entries));
  rollout.generate_seconds = seconds;
  std::lock_guard lock(mutex_);
  rollout.add_work(std::exchange(worked_before_, worked_), worked_);
  return rollout;
}

// Nothing that is being drawn is waited for.
void ElasticPipeline::give_up() {
  paused_ = cancel_ = true;
  for (auto at = dropped_.rbegin(); at != dropped_.rend(); ++at) ready_.push_front(std::move(*at));
  dropped_.clear();
  changed_.notify_all();
}

Rollout ElasticPipeline::settle(std::vector<Entry> entries) {
  Rollout rollout;
  std::vector<int64_t> problems;
  std::lock_guard lock(mutex_);
  for (size_t i = 0; i < entries.size(); ++i) {
    Entry& entry = entries[i];
    const auto skipped = static_cast<int64_t>(entry.skipped.size());
    problems.push_back(entry.problem);
    draws_ += 1 + skipped;
    rollout.skipped_prompts += skipped;
    used_.use_group(entry);
    const bool trained = i < static_cast<size_t>(batch_);
    (trained ? rollout.groups : rollout.discarded).push_back(std::move(entry.group));
    if (trained) rollout.tickets.emplace_back(samples_);
  }
  const auto dropped = static_cast<int>(rollout.discarded.size());
  rollout.rounds = 1 + (dropped + batch_ - 1) / batch_;
  rollout.draws = draws_;
  rollouts_.settle(rollout, problems);
  settled_ += static_cast<int64_t>(entries.size());
  last_ = std::move(entries);
  return rollout;
}

void ElasticPipeline::put_back(int64_t, Rollout rollout) {
  std::lock_guard lock(mutex_);
  rollouts_.undo_settle();
  for (size_t i = last_.size(); i-- > 0;) {
    Entry& entry = last_[i];
    const auto trained = static_cast<size_t>(batch_);
    entry.group = std::move(i < trained ? rollout.groups[i] : rollout.discarded[i - trained]);
    draws_ -= 1 + static_cast<int64_t>(entry.skipped.size());
    ready_.push_front(std::move(entry));
  }
  settled_ -= static_cast<int64_t>(last_.size());
  last_.clear();
  training_ = 0;
  recorded_.push_front(last_record_);  // it is in the journal
  give_up();
}

void ElasticPipeline::drain() {
  Lock lock(mutex_);
  paused_ = true;
  changed_.notify_all();
  while (sampling_ || drawing_ || !grading_.empty() || (!complete_.empty() && !error_)) {
    if (error_) std::rethrow_exception(error_);
    if (asked_ != nullptr && asked_->load()) cancel_ = true;
    changed_.wait_for(lock, kLook);
  }
  if (error_) std::rethrow_exception(error_);
}

}  // namespace zeroth
