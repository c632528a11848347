// What an elastic pipeline keeps, and how it makes recorded steps again.
#include <algorithm>

#include "core/error.h"
#include "core/interrupted.h"
#include "core/message_pack.h"
#include "core/stopwatch.h"
#include "rl/elastic_pipeline.h"
#include "rl/rollout_codec.h"

namespace zeroth {
namespace {

constexpr MessageLimits kLimits = {.values = int64_t{1} << 40};  // of the program's own file

[[noreturn]] void refuse(const JournalStep& record, const std::string& what) {
  fail("the journal's step " + std::to_string(record.step) + ": " + what,
       "the journal, the task's data or the build is not what the run was made with; nothing was "
       "changed");
}

}  // namespace

JournalStep ElasticPipeline::describe(int64_t step, const std::vector<Entry>& entries) const {
  JournalStep out;
  out.step = step;
  std::lock_guard lock(mutex_);
  for (const auto& [version, begun] : begun_) {
    if (begun == step) out.weights = version;
  }
  for (size_t i = 0; i < entries.size(); ++i) {
    JournalGroup& group = out.groups.emplace_back();
    group.draw = entries[i].draw;
    group.problem = entries[i].problem;
    group.skipped = entries[i].skipped;
    group.dropped = i >= static_cast<size_t>(batch_);
    group.digest = digest_of(entries[i].group.samples);
    for (const Sample& sample : entries[i].group.samples) group.samples.push_back(plan_of(sample));
  }
  return out;
}

void ElasticPipeline::journal(const JournalStep& record) {
  if (record.step < journalled_) return;
  journal_->append(record);
  ++journalled_;
}

void ElasticPipeline::scan_replayed() {
  JournalReader other(options_.replay);
  while (const auto record = other.next()) {
    if (record->step != replayed_steps_++)
      fail(options_.replay.string() + " begins at step " + std::to_string(record->step),
           "a run is made again from its first step only");
  }
  if (replayed_steps_ == 0)
    fail(options_.replay.string() + " has no steps", "name a run that has made some");
}

void ElasticPipeline::check_journal(const std::filesystem::path& journal, int64_t step) {
  JournalReader reader(journal);
  int64_t end = 0;
  while (const auto record = reader.next()) end = record->step + 1;
  if (end >= step) return;
  fail(
      journal.string() + " ends before step " + std::to_string(end) +
          ", but the checkpoint is of step " + std::to_string(step),
      "bring back the whole file, or start a new run from the checkpoint: set model to it; nothing "
      "was changed");
}

// The run has not been elastic before `step`.
void ElasticPipeline::begin_journal(int64_t step) {
  std::error_code none;
  if (std::filesystem::file_size(options_.journal, none) > 0 && !none)
    std::filesystem::rename(
        options_.journal,
        options_.journal.parent_path() / ("journal-before-" + std::to_string(step) + ".jsonl"));
  journalled_ = step;
  journal_ = std::make_unique<JournalWriter>(options_.journal, 0, "");
}

// `step` is the first that is not in the checkpoint.
void ElasticPipeline::load_journal(int64_t step) {
  JournalReader reader(options_.journal);
  while (const auto record = reader.next()) {
    journalled_ = record->step + 1;
    if (record->step < step) {
      begun_[record->weights] = record->step;
      tail_bytes_ = reader.bytes();
      tail_chain_ = reader.chain();
    }
    for (const JournalGroup& group : record->groups) handed_.use_group(group);
  }
  journal_ = std::make_unique<JournalWriter>(options_.journal, reader.bytes(), reader.chain());
  reader_ =
      std::make_unique<JournalReader>(options_.replay.empty() ? options_.journal : options_.replay);
  read_ahead();
  while (!recorded_.empty() && recorded_[0].step < step) {
    recorded_.pop_front();
    read_ahead();
  }
}

void ElasticPipeline::read_ahead() {
  if (!recorded_.empty() || reader_ == nullptr) return;
  // What this process appends is not to be made again.
  const int64_t end = options_.replay.empty() ? journalled_ : replayed_steps_;
  auto next = reader_->next();
  if (next && next->step < end) {
    recorded_.push_back(std::move(*next));
  } else {
    reader_ = nullptr;
  }
}

void ElasticPipeline::forget_recorded(const std::filesystem::path& aside) {
  if (journal_ == nullptr || recorded_.empty()) return;
  std::filesystem::create_directories(aside);
  std::filesystem::copy_file(options_.journal, aside / options_.journal.filename(),
                             std::filesystem::copy_options::overwrite_existing);
  reader_ = nullptr;
  journalled_ = recorded_[0].step;
  recorded_.clear();
  journal_ = std::make_unique<JournalWriter>(options_.journal, tail_bytes_, tail_chain_);
  std::lock_guard lock(mutex_);
  handed_ = used_;
}

WeightsPtr ElasticPipeline::kept(WeightsVersion version) const {
  const auto found = kept_.find(version);
  if (found != kept_.end()) return found->second;
  fail("the journal's step " + std::to_string(recorded_[0].step) + " has tokens of version " +
           std::to_string(version) + " of the weights, which is not among those of the last " +
           std::to_string(most_staleness_ + 1) + " steps",
       "the journal belongs to another run or config; nothing was changed");
}

Rollout ElasticPipeline::take_recorded(const std::atomic<bool>* stop) {
  double seconds = 0;
  std::vector<Entry> entries;
  {
    const Stopwatch watch(seconds);
    entries = draw_again(recorded_[0], stop);
  }
  last_record_ = std::move(recorded_[0]);
  recorded_.pop_front();
  read_ahead();
  journal(last_record_);
  {
    std::lock_guard lock(mutex_);
    training_ = batch_;
  }
  Rollout rollout = settle(std::move(entries));
  rollout.generate_seconds = seconds;
  return rollout;
}

// Groups that the checkpoint has are taken from it; the others are sampled and graded once more.
std::vector<ElasticPipeline::Entry> ElasticPipeline::draw_again(const JournalStep& record,
                                                                const std::atomic<bool>* stop) {
  const auto trained = std::count_if(record.groups.begin(), record.groups.end(),
                                     [](const JournalGroup& group) { return !group.dropped; });
  if (trained != batch_) {
    refuse(record, std::to_string(trained) + " groups were trained on instead of " +
                       std::to_string(batch_));
  }
  const auto place = [&](int64_t draw) {
    return std::find_if(ready_.begin(), ready_.end(),
                        [&](const Entry& entry) { return entry.draw == draw; });
  };
  std::vector<Entry> entries(record.groups.size());
  std::vector<size_t> missing;
  for (size_t i = 0; i < entries.size(); ++i) {
    if (place(record.groups[i].draw) != ready_.end()) continue;
    entries[i] = prepare_again(record, record.groups[i], stop);
    missing.push_back(i);
  }
  if (!missing.empty()) sample_again(record, missing, entries, stop);
  // From here on nothing is interrupted.
  for (size_t i = 0; i < entries.size(); ++i) {
    const auto found = place(record.groups[i].draw);
    if (found == ready_.end()) continue;
    entries[i] = std::move(*found);
    ready_.erase(found);
  }
  for (size_t i = 0; i < entries.size(); ++i) {
    if (digest_of(entries[i].group.samples) == record.groups[i].digest) continue;
    refuse(record, "the samples of draw " + std::to_string(record.groups[i].draw) +
                       " come out differently");
  }
  std::lock_guard lock(mutex_);
  admitted_ += static_cast<int64_t>(missing.size());
  return entries;
}

ElasticPipeline::Entry ElasticPipeline::prepare_again(const JournalStep& record,
                                                      const JournalGroup& recorded,
                                                      const std::atomic<bool>* stop) {
  if (static_cast<int>(recorded.samples.size()) != samples_) {
    refuse(record, "a group has " + std::to_string(recorded.samples.size()) +
                       " samples instead of " + std::to_string(samples_));
  }
  auto group = rollouts_.prepare(recorded.problem, stop);
  if (!group) {
    refuse(record,
           "the prompt of problem " + std::to_string(recorded.problem) + " cannot be sampled from");
  }
  Entry entry;
  entry.group = std::move(*group);
  entry.draw = recorded.draw;
  entry.problem = recorded.problem;
  entry.skipped = recorded.skipped;
  return entry;
}

// Samples and grades the entries at `missing`.
void ElasticPipeline::sample_again(const JournalStep& record, const std::vector<size_t>& missing,
                                   std::vector<Entry>& entries, const std::atomic<bool>* stop) {
  std::vector<GenerationRequest> requests;
  std::vector<std::vector<SamplePlan>> plans;
  for (const size_t i : missing) {
    requests.push_back(request_of(entries[i]));
    plans.push_back(record.groups[i].samples);
  }
  if (local_ == nullptr) local_ = options_.local(kept_.begin()->second);
  auto samples = resample(
      *local_, requests, plans, [&](WeightsVersion version) { return kept(version); }, stop);
  check_stop(stop, "sampling");
  std::vector<Group> groups;
  for (size_t i = 0; i < missing.size(); ++i) {
    groups.push_back(std::move(entries[missing[i]].group));
    groups.back().samples = std::move(samples[i]);
  }
  rollouts_.grade(groups, stop);
  for (size_t i = 0; i < missing.size(); ++i) entries[missing[i]].group = std::move(groups[i]);
}

std::string ElasticPipeline::pending() const {
  std::lock_guard lock(mutex_);
  DrawNumbers used = used_;
  std::map<int64_t, Rollout> groups;
  Json entries = Json::array();
  for (const Entry& entry : ready_) {
    used.use_group(entry);
    groups[static_cast<int64_t>(groups.size())].groups.push_back(entry.group);
    entries.push_back({entry.draw, entry.problem, entry.skipped});
  }
  const std::string packed = pack_rollouts(groups);
  return pack_message(
      {{"max_staleness", most_staleness_},
       {"next", used.next},
       {"open", used.open},
       {"entries", std::move(entries)},
       {"groups", Json::binary(std::vector<uint8_t>(packed.begin(), packed.end()))}});
}

// Fills ready_ and used_ from what pending() has made.
void ElasticPipeline::read_pending(const std::string& pending, const std::string& source) {
  const Json json = parse_message(pending, source, kLimits);
  used_.next = json.at("next").get<int64_t>();
  used_.open = json.at("open").get<std::set<int64_t>>();
  const auto& bytes = json.at("groups").get_binary();
  auto groups = unpack_rollouts(std::string(bytes.begin(), bytes.end()), source);
  // Under another bound they might be too old: their problems are drawn again then.
  const bool fits = json.at("max_staleness") == most_staleness_;
  for (auto& [at, rollout] : groups) {
    const Json& facts = json.at("entries").at(static_cast<size_t>(at));
    Entry entry;
    entry.draw = facts.at(0).get<int64_t>();
    entry.problem = facts.at(1).get<int64_t>();
    entry.skipped = facts.at(2).get<std::vector<int64_t>>();
    entry.group = std::move(rollout.groups.at(0));
    if (fits) {
      ready_.push_back(std::move(entry));
    } else {
      used_.open.insert(entry.draw);
      used_.open.insert(entry.skipped.begin(), entry.skipped.end());
    }
  }
}

void ElasticPipeline::restore(int64_t step, int64_t draws, const std::string& pending,
                              const std::string& source) {
  std::lock_guard lock(mutex_);
  draws_ = draws;
  now_ = step;
  if (pending.empty()) {
    used_.next = draws;
    handed_ = used_;
    return begin_journal(step);
  }
  try {
    read_pending(pending, source);
  } catch (const nlohmann::json::exception& error) {
    fail(source + ": " + error.what(), "resume with the build that wrote the run");
  } catch (const std::out_of_range&) {
    fail(source + ": a group is missing", "resume with the build that wrote the run");
  }
  handed_ = used_;
  load_journal(step);
  admitted_ = static_cast<int64_t>(ready_.size());
  for (Entry& entry : ready_) entry.due = due_of(entry.group);
}

}  // namespace zeroth
