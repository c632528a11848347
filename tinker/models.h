// The models that clients train: who made them, what was asked of them, and in which order.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tinker/engine.h"
#include "tinker/samplers.h"
#include "tinker/store.h"
#include "tinker/trainee.h"

namespace zeroth::tinker {

struct ModelFacts {
  std::string id, session, base_model;
  LoraSpec lora;
  Json user_metadata = nullptr;
};
struct Model {
  ModelFacts facts;
  double asked_at = 0;  // of the steady clock: its last request
  // Of the engine's thread alone. Null before it was made, and when that failed.
  std::unique_ptr<Trainee> trainee;
  std::atomic<bool> failed{false};  // it could not be made
  WeightsSlotPtr inflight;          // what all "inflight" sampling sessions of the model read
};
using ModelPtr = std::shared_ptr<Model>;
using ModelWork = std::function<Result(Model&)>;

// One thread at a time calls it: the server's.
class Models {
 public:
  // The others outlive it. `most`: models at a time.
  Models(Engine& engine, Futures& futures, int most);

  // Makes a model in the order of the engine's work; the future of that is FUTURE, begun here. When
  // there is no room, one of a session that was not heard of for two minutes makes it; `heard_at`
  // says when that was. Throws Refusal (429) when there is none. The id is new.
  ModelPtr create(ModelFacts facts, const std::string& future,
                  const std::function<std::unique_ptr<Trainee>()>& make, const Json& answer,
                  const std::function<double(const std::string& session)>& heard_at);
  ModelPtr find(const std::string& id);  // throws Refusal (404)
  void remove(const std::string& id);    // when what was asked of it before is done
  std::vector<ModelPtr> all() const;
  bool any(const std::function<bool(const Model&)>& holds) const;
  bool contains(const std::string& id) const { return entries_.contains(id); }

  // Hands `work` to the engine when all requests with lower numbers came; returns its future. A
  // number that was seen before is the same request, asked again. Without one it is the next.
  std::string submit(const std::string& id, std::optional<int64_t> seq, ModelWork work);
  // To be called about every second. When a number does not come for a minute, those behind it fail; models
  // that could not be made are forgotten.
  void sweep();

 private:
  struct Early {
    std::string future;
    ModelWork work;
    double since = 0;
  };
  struct Entry {
    ModelPtr model;
    int64_t next = 1;  // the number that is to come
    std::map<int64_t, Early> early;
    std::shared_ptr<std::atomic<int>> pending = std::make_shared<std::atomic<int>>(0);
  };
  void hand_on(Entry& entry, const std::string& future, ModelWork work);
  void hand_on_early(Entry& entry);
  void forget_failed();
  bool make_room(const std::function<double(const std::string&)>& heard_at);

  Engine& engine_;
  Futures& futures_;
  const size_t most_;
  std::map<std::string, Entry> entries_;
};

}  // namespace zeroth::tinker
