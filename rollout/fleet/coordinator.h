// The run's side of a fleet: hands out weights and work, takes results. docs/fleet.md describes the
// protocol; everything that workers send is checked, counted and bounded.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "net/http_server.h"
#include "rollout/fleet/audit.h"
#include "rollout/fleet/fleet_config.h"
#include "rollout/fleet/messages.h"
#include "text/tokenizer.h"

namespace zeroth::fleet {

// What every worker of a run gets.
struct FleetSetup {
  PolicyConfig model;
  kernels::Element element = kernels::Element::kFloat32;  // of the published weights
  std::map<std::string, std::string> tokenizer_files;     // name, content
  const Tokenizer* tokenizer = nullptr;                   // the same; may be null with no files
  bool record_experts = false;
  std::filesystem::path folder;  // of evidence and the token; empty: nothing is written
  // Further routes: whether one answers a request (from whoever has a worker's token), and the most
  // bytes of a body for a path. May be null.
  std::function<bool(const HttpExchangePtr&)> more = {};
  std::function<uint64_t(const std::string& path)> more_bytes = {};
};

// A piece of a request that one worker has made, its shape checked.
struct Delivery {
  int request = 0;       // the number that add() gave it
  int first_sample = 0;  // offset in the request
  std::vector<Sample> samples;
  std::string weights;  // SHA-256 of those that it was to be made by
  int64_t work = 0;
  std::string worker;
  SamplerStats did = {};  // Result::did
  // When a second worker made the same piece and it differs: one of the two is wrong.
  std::vector<Sample> rival;
  std::string rival_worker;
};

// Any thread may call it; the server has a thread of its own.
class Coordinator {
 public:
  // Listens at once. Throws Error for what cannot be had: address, certificate, token file.
  Coordinator(const FleetConfig& config, FleetSetup setup);
  ~Coordinator();
  Coordinator(const Coordinator&) = delete;

  uint16_t port() const;
  std::string url() const;
  std::filesystem::path token_file() const;

  // Makes the weights known to workers; those of the last `keep` versions can be fetched. Blocks
  // while they are copied, hashed and compared with the ones before. Returns their SHA-256.
  std::string publish(const Weights& weights, int keep = 2);

  // The work of one generate() begins; one at a time. Requests, by the weights of that hash, may
  // come at any moment of it; numbers[r] names requests[r] in deliveries. With kNewest a request
  // of which no worker has heard yet goes on to weights that are published meanwhile; with kSwitch
  // so do its samples at any token, and deliveries say at which (Sample::versions).
  void begin();
  void add(const std::vector<int>& numbers, const std::vector<GenerationRequest>& requests,
           const std::string& weights, WeightsUse use = WeightsUse::kOwn);
  // Hashes of the weights that requests are to be made by.
  std::set<std::string> weights_in_use() const;
  // A request whose pieces have all come is done with: later results of it are refused.
  void remove(int number);
  // The next piece that came; nothing within `wait_s`.
  std::optional<Delivery> next(double wait_s);
  // What a worker delivered for a piece is false: it is shut out, what it holds goes to others, and
  // so do `works` (its pieces that were thought right). Finding and samples are kept as evidence.
  void convict(const std::string& worker, int64_t work, const std::vector<Sample>& samples,
               const AuditFinding& finding, const std::vector<int64_t>& works);
  // Withdraws what is left; late results are refused.
  void end();

  void note_audit();  // counts one

  // Tells workers that the run is over, and waits a moment for them to hear it.
  void finish();

  int workers() const;          // alive: waiting for work, or heard of within some seconds
  Json status() const;          // GET /v1/status
  std::string metrics() const;  // GET /metrics, Prometheus' text format

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace zeroth::fleet
