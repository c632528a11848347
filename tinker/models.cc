#include "tinker/models.h"

#include "core/stopwatch.h"

namespace zeroth::tinker {
namespace {

constexpr double kSilence = 120;  // seconds; a client's heart beats every ten
constexpr double kMostGap = 60;
constexpr int kMostPending = 256;

[[noreturn]] void refuse_unknown(const std::string& id) {
  throw Refusal{404, "there is no model \"" + id.substr(0, 200) +
                         "\": it was never made, was unloaded, or its session had gone silent and "
                         "another model took its room"};
}

}  // namespace

Models::Models(Engine& engine, Futures& futures, int most)
    : engine_(engine), futures_(futures), most_(static_cast<size_t>(most)) {}

bool Models::make_room(const std::function<double(const std::string&)>& heard_at) {
  auto quietest = entries_.end();
  double since = steady_now() - kSilence;
  for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
    const double heard = heard_at(entry->second.model->facts.session);
    if (heard > since) continue;
    since = heard;
    quietest = entry;
  }
  if (quietest == entries_.end()) return false;
  entries_.erase(quietest);
  return true;
}

ModelPtr Models::create(ModelFacts facts, const std::string& future,
                        const std::function<std::unique_ptr<Trainee>()>& make, const Json& answer,
                        const std::function<double(const std::string&)>& heard_at) {
  forget_failed();
  if (entries_.size() >= most_ && !make_room(heard_at)) {
    throw Refusal{429, "there are " + std::to_string(most_) +
                           " models, as many as the server has room for (--models); unload one, "
                           "or end its session"};
  }
  const auto made = std::make_shared<Model>();
  made->facts = std::move(facts);
  made->asked_at = steady_now();
  futures_.begin(future);
  entries_[made->facts.id].model = made;
  engine_.post(future, [made, make, answer]() -> Result {
    try {
      made->trainee = make();
    } catch (...) {
      made->failed = true;
      throw;
    }
    return answer;
  });
  return made;
}

ModelPtr Models::find(const std::string& id) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) refuse_unknown(id);
  return found->second.model;
}

void Models::remove(const std::string& id) { entries_.erase(id); }

std::vector<ModelPtr> Models::all() const {
  std::vector<ModelPtr> out;
  for (const auto& [id, entry] : entries_) {
    if (!entry.model->failed) out.push_back(entry.model);
  }
  return out;
}

bool Models::any(const std::function<bool(const Model&)>& holds) const {
  for (const auto& [id, entry] : entries_) {
    if (holds(*entry.model)) return true;
  }
  return false;
}

std::string Models::submit(const std::string& id, std::optional<int64_t> seq, ModelWork work) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) refuse_unknown(id);
  Entry& entry = found->second;
  entry.model->asked_at = steady_now();
  const int64_t number = seq.value_or(entry.next);
  const std::string future = id + ":" + std::to_string(number);
  if (number < entry.next || entry.early.contains(number)) return future;
  if (*entry.pending + static_cast<int>(entry.early.size()) >= kMostPending)
    throw Refusal{429, "256 requests wait for model " + id + "; try again in a moment"};
  futures_.begin(future);
  if (number > entry.next) {
    entry.early[number] = {future, std::move(work), steady_now()};
    return future;
  }
  ++entry.next;
  hand_on(entry, future, std::move(work));
  hand_on_early(entry);
  return future;
}

void Models::hand_on(Entry& entry, const std::string& future, ModelWork work) {
  ++*entry.pending;
  engine_.post(
      future, [model = entry.model, pending = entry.pending, work = std::move(work)]() -> Result {
        --*pending;
        if (model->trainee == nullptr)
          throw Refusal{
              400, "model " + model->facts.id + " could not be made; its own request says why"};
        return work(*model);
      });
}

void Models::hand_on_early(Entry& entry) {
  while (!entry.early.empty() && entry.early.begin()->first == entry.next) {
    Early early = std::move(entry.early.begin()->second);
    entry.early.erase(entry.early.begin());
    ++entry.next;
    hand_on(entry, early.future, std::move(early.work));
  }
}

void Models::forget_failed() {
  std::erase_if(entries_, [](const auto& entry) { return entry.second.model->failed.load(); });
}

void Models::sweep() {
  forget_failed();
  for (auto& [id, entry] : entries_) {
    while (!entry.early.empty() && entry.early.begin()->second.since + kMostGap < steady_now()) {
      const auto first = entry.early.begin();
      futures_.fail(first->second.future,
                    "request " + std::to_string(entry.next) + " of model " + id +
                        " did not come for a minute, and this is behind it",
                    Blame::kUser);
      entry.next = first->first + 1;
      entry.early.erase(first);
      hand_on_early(entry);
    }
  }
}

}  // namespace zeroth::tinker
