#include "tinker/service.h"

#include "core/error.h"
#include "core/json_text.h"
#include "core/stopwatch.h"
#include "model/formats/gguf_model.h"
#include "policy/weights.h"
#include "tinker/service_impl.h"

namespace zeroth::tinker {
namespace {

constexpr char kPrefix[] = "/api/v1/";
constexpr uint64_t kMost = 1 << 20;
constexpr JsonBounds kBounds{16, 4'000'000};

bool is_protobuf(const HttpRequest& request) {
  return request.header("content-type").find("application/x-protobuf") != std::string::npos;
}

}  // namespace

Service::Impl::Impl(const ServiceOptions& with)
    : options(with),
      tokenizer(load_tokenizer(with.trainee.model)),
      base(zeroth::load_weights(with.trainee.model, with.trainee.element, *with.trainee.operators)),
      config(base->config()),
      store(with.out),
      samplers(base, with.trainee, store, with.samplers),
      engine(base, *tokenizer, with.engine, samplers, futures),
      models(engine, futures, with.models) {}

Service::Impl::~Impl() { futures.end(); }

const std::map<std::string, Service::Impl::Handler>& Service::Impl::posts() {
  static const std::map<std::string, Handler> all = {
      {"client/config", &Impl::client_config},
      {"client/dynamic_config", &Impl::dynamic_config},
      {"telemetry", &Impl::telemetry},
      {"create_session", &Impl::create_session},
      {"session_heartbeat", &Impl::heartbeat},
      {"get_info", &Impl::get_info},
      {"weights_info", &Impl::weights_info},
      {"create_model", &Impl::create_model},
      {"unload_model", &Impl::unload_model},
      {"forward", &Impl::forward},
      {"forward_backward", &Impl::forward_backward},
      {"optim_step", &Impl::optim_step},
      {"save_weights", &Impl::save_weights},
      {"save_weights_for_sampler", &Impl::save_for_sampler},
      {"load_weights", &Impl::load_weights},
      {"create_sampling_session", &Impl::create_sampling_session},
      {"asample", &Impl::sample},
  };
  return all;
}

void Service::Impl::check_base(const std::string& name) const {
  if (name == options.name) return;
  throw Refusal{404, "there is no model \"" + name.substr(0, 200) + "\", but \"" + options.name +
                         "\" (zeroth tinker --name)"};
}

Session& Service::Impl::alive(const std::string& id) {
  const auto found = sessions.find(id);
  if (found == sessions.end())
    throw Refusal{404, "there is no session \"" + id.substr(0, 200) + "\""};
  if (found->second.finished) throw Refusal{410, "session " + id + " is finished"};
  found->second.heard_at = steady_now();
  return found->second;
}

double Service::Impl::heard_at(const std::string& session) const {
  const auto found = sessions.find(session);
  return found == sessions.end() ? -1e300 : found->second.heard_at;
}

Json Service::Impl::promise(const std::string& future, const std::string& model_id) const {
  Json out = {{"request_id", future}};
  if (!model_id.empty()) out["model_id"] = model_id;
  return out;
}

Json Service::Impl::get(const HttpRequest& request) {
  const std::string path = request.path.substr(sizeof kPrefix - 1);
  const auto below = [&](const std::string& prefix) {
    return path.starts_with(prefix) ? path.substr(prefix.size()) : std::string();
  };
  if (path == "healthz") return {{"status", "ok"}};
  if (path == "get_server_capabilities") return capabilities();
  if (path == "training_runs") return training_runs(request);
  if (path == "checkpoints") return checkpoints(request, "");
  if (const std::string id = below("samplers/"); !id.empty()) return sampler(id);
  if (const std::string id = below("sessions/"); !id.empty()) return session(id);
  if (std::string id = below("training_runs/"); !id.empty()) {
    constexpr std::string_view kList = "/checkpoints";
    if (id.ends_with(kList)) return checkpoints(request, id.substr(0, id.size() - kList.size()));
    return training_run(*models.find(id));
  }
  throw Refusal{404, "there is no " + request.path.substr(0, 200) + " here (docs/tinker.md)"};
}

Json Service::Impl::erase(const HttpRequest& request) {
  const std::string runs = std::string(kPrefix) + "training_runs/", middle = "/checkpoints/";
  const size_t at = request.path.find(middle);
  if (!request.path.starts_with(runs) || at == std::string::npos)
    throw Refusal{404, "only checkpoints are deleted here"};
  const std::string run = request.path.substr(runs.size(), at - runs.size());
  const SavedPath path =
      parse_path("tinker://" + run + "/" + request.path.substr(at + middle.size()));
  store.remove(path);
  samplers.forget(path);
  return Json::object();
}

void Service::Impl::handle(const HttpExchangePtr& exchange) {
  const HttpRequest& request = exchange->request();
  const std::string finish = "/finish", sessions_path = std::string(kPrefix) + "sessions/";
  if (!request.path.starts_with(kPrefix))
    throw Refusal{404, "paths begin with /api/v1/; see docs/tinker.md"};
  Json answer;
  if (request.method == "GET" || request.method == "HEAD") {
    answer = get(request);
  } else if (request.method == "DELETE") {
    answer = erase(request);
  } else if (request.method == "POST") {
    if (!request.header("content-encoding").empty())
      throw Refusal{415, "bodies are read as they are, not as " +
                             request.header("content-encoding").substr(0, 40)};
    Json body;
    if (!is_protobuf(request)) {
      auto json = try_parse_json(request.body, kBounds);
      if (!json || !json->is_object())
        throw Refusal{400, "the body is no JSON object of at most 4000000 values"};
      body = std::move(*json);
    }
    const std::string name = request.path.substr(sizeof kPrefix - 1);
    if (body.is_object() && name == "retrieve_future")
      return futures.retrieve(text_of(body, "request_id"), exchange);
    if (request.path.starts_with(sessions_path) && request.path.ends_with(finish)) {
      const size_t size = request.path.size() - sessions_path.size() - finish.size();
      answer = finish_session(request.path.substr(sessions_path.size(), size));
    } else {
      const auto found = posts().find(name);
      if (found == posts().end())
        throw Refusal{404, "there is no " + request.path.substr(0, 200) + " here (docs/tinker.md)"};
      if (!body.is_object() && name != "forward_backward")
        throw Refusal{415, "the body of " + name + " is JSON"};
      answer = (this->*found->second)(request, body);
    }
  } else {
    throw Refusal{405, "GET, POST and DELETE are understood here"};
  }
  exchange->reply({.text = answer.dump(-1, ' ', false, Json::error_handler_t::replace)});
}

Service::Service(const ServiceOptions& options) : impl_(std::make_unique<Impl>(options)) {}
Service::~Service() = default;

void Service::handle(const HttpExchangePtr& exchange) {
  ++impl_->requests;
  try {
    impl_->handle(exchange);
  } catch (const Refusal& refusal) {
    ++impl_->refused;
    exchange->reply(refusal_reply(refusal.status, refusal.message));
  } catch (const std::exception& error) {
    exchange->reply(refusal_reply(500, error.what()));
  }
}

void Service::sweep() {
  impl_->futures.sweep();
  impl_->models.sweep();
}

uint64_t Service::body_limit(const std::string& path) {
  const std::string name = path.starts_with(kPrefix) ? path.substr(sizeof kPrefix - 1) : "";
  if (name == "forward_backward" || name == "forward") return 64 * kMost;
  if (name == "asample") return 16 * kMost;
  return name == "telemetry" ? 8 * kMost : kMost;
}

ServiceStats Service::stats() const {
  ServiceStats out;
  out.engine = impl_->engine.stats();
  out.requests = impl_->requests;
  out.refused = impl_->refused;
  out.pending = impl_->futures.pending();
  out.models = static_cast<int64_t>(impl_->models.all().size());
  out.sessions = static_cast<int64_t>(impl_->sessions.size());
  return out;
}

}  // namespace zeroth::tinker
