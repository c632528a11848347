// The Tinker protocol over HTTP: sessions, models that learn by forward_backward and optim_step,
// samples, weights by name. docs/tinker.md says what is understood.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "net/http_server.h"
#include "tinker/engine.h"
#include "tinker/trainee.h"

namespace zeroth::tinker {

struct ServiceOptions {
  std::string name;           // what clients call the base model
  std::filesystem::path out;  // where weights are saved
  int models = 4;             // that learn at a time
  int samplers = 4;           // sets of weights for sampling, besides the base
  TraineeOptions trainee;
  EngineOptions engine;
};

struct ServiceStats {
  EngineStats engine;
  int64_t requests = 0, refused = 0, pending = 0;
  int64_t models = 0, sessions = 0;
};

// handle() and sweep() are called by one thread, the server's; computing has a thread of its own.
class Service {
 public:
  // Loads the base model. Throws Error.
  explicit Service(const ServiceOptions& options);
  ~Service();  // ends what runs; who waits is told
  Service(const Service&) = delete;

  // Answers a request, now or later.
  void handle(const HttpExchangePtr& exchange);
  // To be called about every second.
  void sweep();
  // Most bytes of a body for such a path.
  static uint64_t body_limit(const std::string& path);
  ServiceStats stats() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace zeroth::tinker
