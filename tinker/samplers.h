// Weights that clients sample by: the base model, what was saved, and snapshots of models that
// learn, which are in memory alone.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "policy/weights.h"
#include "tinker/store.h"

namespace zeroth::tinker {

// One set of weights, perhaps of several sampling sessions. Samplers alone looks inside.
struct WeightsSlot {
  std::optional<SavedPath> path;  // where they are read from; none: a snapshot, or the base
  bool base = false;
  WeightsPtr weights;  // null: not in memory now
  bool gone = false;   // a snapshot that there was no more room for
};
using WeightsSlotPtr = std::shared_ptr<WeightsSlot>;

struct Sampler {
  std::string id, base_model, model_path;
  uint64_t number = 0;  // of all that were made, from 1
  WeightsSlotPtr slot;
};

// Thread safe. At most so many weights besides the base are held here; of more, those that were used
// longest ago are let go: what was saved is read again when it is asked for, a snapshot is gone.
class Samplers {
 public:
  // `options`: how weights are read.
  Samplers(WeightsPtr base, const TraineeOptions& options, Store& store, int most);

  // A session by this name; one that is there already stays as it is. Of the base model, or of what
  // was saved (Refusal when it is not there).
  void create(const std::string& id, const std::string& base_model,
              const std::optional<SavedPath>& path);
  // Of weights in memory. With `slot` they take the place of what was in it, for all who have it.
  WeightsSlotPtr create(const std::string& id, const std::string& base_model, WeightsPtr weights,
                        WeightsSlotPtr slot = nullptr);
  // Throws Refusal (404).
  Sampler find(const std::string& id);
  // Sessions whose name begins so are forgotten.
  void remove(const std::string& prefix);
  std::vector<std::string> names(const std::string& prefix) const;

  // The weights, read from their folder where they are not in memory, which blocks. Throws Refusal
  // for what was let go of or deleted.
  WeightsPtr weights(const Sampler& sampler);
  // What was saved there is another now, or deleted: it is read again when it is asked for.
  void forget(const SavedPath& path);
  // Whether these are in memory as the session's.
  bool holds(const Sampler& sampler, const Weights& weights) const;

 private:
  void touch(const WeightsSlotPtr& slot);
  void make_room();

  const WeightsPtr base_;
  const TraineeOptions options_;
  Store& store_;
  const size_t most_;
  mutable std::mutex mutex_;  // guards what follows
  std::map<std::string, Sampler> samplers_;
  std::list<WeightsSlotPtr> held_;  // used last comes last
  uint64_t numbers_ = 0;
};

}  // namespace zeroth::tinker
