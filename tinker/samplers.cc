#include "tinker/samplers.h"

#include <algorithm>
#include <utility>

namespace zeroth::tinker {
namespace {

constexpr size_t kMostSessions = 65536;

}  // namespace

Samplers::Samplers(WeightsPtr base, const TraineeOptions& options, Store& store, int most)
    : base_(std::move(base)), options_(options), store_(store), most_(static_cast<size_t>(most)) {}

void Samplers::create(const std::string& id, const std::string& base_model,
                      const std::optional<SavedPath>& path) {
  if (path) store_.open(*path);
  std::lock_guard lock(mutex_);
  if (samplers_.contains(id)) return;
  make_room();
  Sampler sampler = {id, base_model, path ? path->uri() : "", ++numbers_, nullptr};
  // Sessions of one path share its weights.
  for (const auto& [name, other] : samplers_) {
    if (path && other.model_path == sampler.model_path) sampler.slot = other.slot;
  }
  if (sampler.slot == nullptr) {
    sampler.slot = std::make_shared<WeightsSlot>();
    sampler.slot->path = path;
    sampler.slot->base = !path;
  }
  samplers_[id] = std::move(sampler);
}

WeightsSlotPtr Samplers::create(const std::string& id, const std::string& base_model,
                                WeightsPtr weights, WeightsSlotPtr slot) {
  std::lock_guard lock(mutex_);
  if (!samplers_.contains(id)) make_room();
  if (slot == nullptr) slot = std::make_shared<WeightsSlot>();
  slot->weights = std::move(weights);
  slot->gone = false;
  samplers_[id] = {id, base_model, "", ++numbers_, slot};
  touch(slot);
  return slot;
}

// Sessions whose snapshot is gone go when there are many.
void Samplers::make_room() {
  if (samplers_.size() < kMostSessions) return;
  std::erase_if(samplers_, [](const auto& sampler) { return sampler.second.slot->gone; });
  if (samplers_.size() >= kMostSessions)
    throw Refusal{429, "there are 65536 sampling sessions; end sessions that are done"};
}

Sampler Samplers::find(const std::string& id) {
  std::lock_guard lock(mutex_);
  const auto found = samplers_.find(id);
  if (found != samplers_.end()) return found->second;
  throw Refusal{404, "there is no sampling session \"" + id.substr(0, 200) + "\""};
}

void Samplers::remove(const std::string& prefix) {
  std::lock_guard lock(mutex_);
  std::erase_if(samplers_, [&](const auto& sampler) { return sampler.first.starts_with(prefix); });
  held_.remove_if([&](const WeightsSlotPtr& slot) {
    return std::none_of(samplers_.begin(), samplers_.end(),
                        [&](const auto& sampler) { return sampler.second.slot == slot; });
  });
}

std::vector<std::string> Samplers::names(const std::string& prefix) const {
  std::lock_guard lock(mutex_);
  std::vector<std::string> out;
  for (const auto& [id, sampler] : samplers_) {
    if (id.starts_with(prefix)) out.push_back(id);
  }
  return out;
}

void Samplers::touch(const WeightsSlotPtr& slot) {
  held_.remove(slot);
  held_.push_back(slot);
  while (held_.size() > most_) {
    WeightsSlot& oldest = *held_.front();
    oldest.weights = nullptr;
    oldest.gone = !oldest.path;
    held_.pop_front();
  }
}

WeightsPtr Samplers::weights(const Sampler& sampler) {
  const WeightsSlotPtr& slot = sampler.slot;
  if (slot->base) return base_;
  if (slot->path) store_.open(*slot->path);  // it may have been deleted since
  {
    std::lock_guard lock(mutex_);
    if (slot->gone) {
      throw Refusal{410, "the snapshot of sampling session " + sampler.id +
                             " was let go of: " + std::to_string(most_) +
                             " are kept (--samplers); save_weights_for_sampler(name) keeps one on "
                             "the disk"};
    }
    if (slot->weights != nullptr) {
      touch(slot);
      return slot->weights;
    }
  }
  WeightsPtr read =
      load_weights(store_.model_folder(*slot->path), options_.element, *options_.operators);
  std::lock_guard lock(mutex_);
  slot->weights = read;
  touch(slot);
  return read;
}

void Samplers::forget(const SavedPath& path) {
  std::lock_guard lock(mutex_);
  const std::string uri = path.uri();
  for (const auto& [id, sampler] : samplers_) {
    if (sampler.model_path != uri) continue;
    sampler.slot->weights = nullptr;
    held_.remove(sampler.slot);
  }
}

bool Samplers::holds(const Sampler& sampler, const Weights& weights) const {
  if (sampler.slot->base) return base_.get() == &weights;
  std::lock_guard lock(mutex_);
  return sampler.slot->weights.get() == &weights;
}

}  // namespace zeroth::tinker
