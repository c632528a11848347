// What the requests of the service (tinker/service.h) work on, for its own files.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>

#include "tinker/models.h"
#include "tinker/service.h"

namespace zeroth::tinker {

struct Session {
  std::string id;
  double heard_at = 0;  // of the steady clock
  bool finished = false;
  Json user_metadata = nullptr;
};

struct Service::Impl {
  explicit Impl(const ServiceOptions& options);
  ~Impl();

  // `body` of POST; else null. The answer, or null when it comes later.
  using Handler = Json (Impl::*)(const HttpRequest& request, const Json& body);
  static const std::map<std::string, Handler>& posts();
  Json get(const HttpRequest& request);
  Json erase(const HttpRequest& request);
  void handle(const HttpExchangePtr& exchange);

  // service_admin.cc
  Json client_config(const HttpRequest&, const Json& body);
  Json dynamic_config(const HttpRequest&, const Json& body);
  Json telemetry(const HttpRequest&, const Json& body);
  Json create_session(const HttpRequest&, const Json& body);
  Json heartbeat(const HttpRequest&, const Json& body);
  Json finish_session(const std::string& id);
  Json get_info(const HttpRequest&, const Json& body);
  Json weights_info(const HttpRequest&, const Json& body);
  Json capabilities() const;
  Json session(const std::string& id);
  Json training_run(const Model& model);
  Json training_runs(const HttpRequest& request);
  Json checkpoints(const HttpRequest& request, const std::string& run);
  Json sampler(const std::string& id);

  // service_work.cc
  Json create_model(const HttpRequest&, const Json& body);
  Json unload_model(const HttpRequest&, const Json& body);
  Json forward(const HttpRequest&, const Json& body);
  Json forward_backward(const HttpRequest& request, const Json& body);
  Json submit_loss(LossRequest request);
  Json optim_step(const HttpRequest&, const Json& body);
  Json save_weights(const HttpRequest&, const Json& body);
  Json save_for_sampler(const HttpRequest&, const Json& body);
  Json save_snapshot(const Json& body, const std::string& model_id);
  Json load_weights(const HttpRequest&, const Json& body);
  Json load_new(const Json& body, const SavedPath& path, bool moments);
  Json create_sampling_session(const HttpRequest&, const Json& body);
  Json sample(const HttpRequest&, const Json& body);

  void check_base(const std::string& name) const;  // throws Refusal (404)
  Session& alive(const std::string& id);           // throws Refusal (404, 410)
  double heard_at(const std::string& session) const;
  SavedNote note_of(const Model& model, const Json& body) const;
  Json promise(const std::string& future, const std::string& model_id) const;

  const ServiceOptions options;
  const std::unique_ptr<Tokenizer> tokenizer;
  const WeightsPtr base;
  const PolicyConfig& config;
  Store store;
  Futures futures;
  Samplers samplers;
  Engine engine;
  Models models;
  std::map<std::string, Session> sessions;
  // Bytes of data that wait to be learnt from; those who hold some may outlive this.
  const std::shared_ptr<std::atomic<int64_t>> waiting_bytes =
      std::make_shared<std::atomic<int64_t>>(0);
  uint64_t loose_samples = 0;  // that were asked for without a session's number
  int64_t requests = 0, refused = 0;
};

}  // namespace zeroth::tinker
