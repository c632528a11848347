// Inside of Coordinator: its state, and what each route does with it.
#pragma once

#include <condition_variable>
#include <deque>
#include <list>
#include <mutex>
#include <set>
#include <thread>
#include <unordered_map>

#include "core/stopwatch.h"
#include "net/http_server.h"
#include "rollout/fleet/access.h"
#include "rollout/fleet/coordinator.h"
#include "rollout/fleet/coordinator_state.h"
#include "rollout/fleet/lease_book.h"

namespace zeroth::fleet {

struct Coordinator::Impl {
  Impl(const FleetConfig& config, FleetSetup setup);

  // --- HTTP, on the server's thread (coordinator_http.cc)
  std::optional<HttpReply> admit(const HttpRequest& request, uint64_t& body_bytes);
  void handle(const HttpExchangePtr& exchange);
  HttpReply answer(const HttpExchangePtr& exchange, bool& parked);
  HttpReply hello(const HttpRequest& request);
  HttpReply lease(const HttpExchangePtr& exchange, bool& parked);
  HttpReply progress(const HttpRequest& request);
  HttpReply result(const HttpRequest& request, const std::string& id);
  HttpReply duplicate(WorkerSession& session, WorkId work, Piece& piece,
                      std::vector<Sample> samples, const std::string& type);
  HttpReply release(const HttpRequest& request);
  HttpReply weights_manifest(const HttpExchangePtr& exchange, const std::string& wanted,
                             bool& parked);
  HttpReply blob(const HttpRequest& request, const std::string& name);
  void tick();
  void name_chunks();   // a thread of its own: it hashes what somebody wants whole
  void write_status();  // any thread (coordinator_status.cc)

  // --- state; the caller holds the mutex
  WorkerSession* session_of(const std::string& id);
  void forget(const std::string& id);
  bool alive(const WorkerSession& session, double now) const;
  int alive_count(double now) const;
  LeasesGiven give(WorkerSession& session, int64_t capacity, double now);
  Lease lease_of(LeaseId id, const Piece& piece) const;
  // Gives samples of a result their versions; returns what is wrong, or nothing.
  std::string set_versions(const Lease& asked, Result& result) const;
  Delivery delivery_of(WorkId work, const Piece& piece, std::vector<Sample> samples) const;
  // Answer a long poll when it has something to hear. A request concerns its own; serve_parked()
  // looks at all, after what concerns all.
  void serve(WorkerSession& session, double now);
  bool serve(const WeightsPoll& poll, double now);  // whether it is answered
  void serve_parked();
  Json status_json() const;  // coordinator_status.cc
  Json workers_json(double now) const;
  Json evidence_of(const Piece& piece, const std::vector<Sample>& samples,
                   const AuditFinding& finding) const;
  void end_sessions(const std::string& worker, const std::string& token);
  void disown(const std::string& worker, const std::vector<int64_t>& works);

  const FleetConfig config;
  FleetSetup setup;
  Identity identity;
  Json model;
  ImageLayoutPtr layout;
  std::vector<NamedFile> files;
  std::filesystem::path token_file;
  TokenList tokens;
  Quarantine quarantine;
  std::string instance;  // names this life of the coordinator

  mutable std::mutex mutex;
  std::condition_variable delivered;
  BlobStore blobs;
  std::string newest;  // SHA-256 of what was published last
  WeightsVersion newest_version = 0;
  std::deque<std::pair<std::string, WeightsVersion>> published;  // lately, newest last
  std::unordered_map<std::string, WorkerSession> sessions;       // by id
  std::unordered_map<std::string, std::string> named;            // id of the session of that name
  // Workers that are alive, for whom the batch is cut; counted anew by serve_parked().
  int64_t sharing = 0;
  std::list<WeightsPoll> weights_polls;
  std::string to_name;  // weights whose chunks somebody waits for
  std::condition_variable naming;
  bool stopping = false;
  LeaseBook book;
  struct Wanted {
    GenerationRequest request;
    std::string weights;
    bool fresh = false;   // it takes newer weights while no piece of it was lent
    bool follow = false;  // ... and later too: Lease::follow
    std::vector<WorkId> works;
  };
  bool open = false;             // a generate() runs
  std::map<int, Wanted> wanted;  // by number
  std::map<WorkId, Piece> pieces;
  int64_t batch_samples = 0;  // of `wanted`
  std::deque<Delivery> deliveries;
  bool finished = false;
  FleetCounts counts;
  double started = steady_now(), status_written = 0;
  std::filesystem::path status_file;
  std::mutex writing;  // of it

  std::thread namer;
  HttpServer server;  // last: its thread uses all of the above
};

std::string metrics_text(const Json& status);
// What a worker asks for in good faith and comes too late for. The field tells it from a wrong path.
HttpReply gone(const char* field, const std::string& what);
HttpReply error_reply(int status, const std::string& what, Json more = Json::object());
HttpReply message_reply(const Json& json, const std::string& type, int status = 200);

}  // namespace zeroth::fleet
