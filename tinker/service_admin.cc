// Sessions, and what there is.
#include <algorithm>
#include <ctime>

#include "core/stopwatch.h"
#include "model/families.h"
#include "rollout/fleet/access.h"
#include "tinker/service_impl.h"

namespace zeroth::tinker {
namespace {

constexpr size_t kMostSessions = 4096;

std::string iso_time(int64_t seconds) {
  const auto at = static_cast<std::time_t>(seconds);
  std::tm parts{};
  gmtime_r(&at, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

Json lora_rank(const LoraSpec& lora) { return lora.rank > 0 ? Json(lora.rank) : Json(); }

Json described(const Saved& saved) {
  const std::string folder = saved.path.training ? "weights/" : "sampler_weights/";
  return {{"checkpoint_id", folder + saved.path.name},
          {"checkpoint_type", saved.path.training ? "training" : "sampler"},
          {"time", iso_time(saved.note.saved_at)},
          {"tinker_path", saved.path.uri()},
          {"size_bytes", saved.bytes},
          {"public", false},
          {"user_metadata", saved.note.user_metadata},
          {"expires_at", saved.note.expires_at ? Json(iso_time(*saved.note.expires_at)) : Json()}};
}

// Elements [offset, offset + limit) of a list, by the query.
struct Window {
  int64_t offset = 0, limit = 100;
};
Window window_of(const HttpRequest& request) {
  Window out;
  const auto number = [&](const char* name, int64_t otherwise) {
    const std::string text = request.argument(name);
    if (text.empty()) return otherwise;
    if (text.size() > 9 ||
        !std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; }))
      throw Refusal{400, std::string("'") + name + "' is no whole number"};
    return int64_t{std::stoll(text)};
  };
  out.offset = number("offset", 0);
  out.limit = number("limit", 100);
  return out;
}

template <class T>
void cut(std::vector<T>& list, const Window& window) {
  const auto begin = std::min<size_t>(list.size(), static_cast<size_t>(window.offset));
  const auto end = std::min<size_t>(list.size(), begin + static_cast<size_t>(window.limit));
  list.erase(list.begin() + static_cast<int64_t>(end), list.end());
  list.erase(list.begin(), list.begin() + static_cast<int64_t>(begin));
}

}  // namespace

// What the client does by itself unless it is told otherwise: chunks of one call come in order, no
// compression, no pushing of results.
Json Service::Impl::client_config(const HttpRequest&, const Json&) {
  return {{"pjwt_auth_enabled", false},
          {"parallel_fwdbwd_chunks", false},
          {"proto_compress_fwdbwd", false},
          {"sample_use_retrieve_futures", false},
          {"sample_max_concurrent_requests", options.engine.queue},
          {"custom_loss_server_side", false},
          {"sample_join_sampling_session", false}};
}

Json Service::Impl::dynamic_config(const HttpRequest&, const Json&) {
  return {{"refresh_interval_sec", 300}, {"sample_cancel_enabled", false}};
}

// What a client says of itself is read by nobody here.
Json Service::Impl::telemetry(const HttpRequest&, const Json&) { return {{"status", "accepted"}}; }

Json Service::Impl::create_session(const HttpRequest&, const Json& body) {
  if (sessions.size() >= kMostSessions) {
    // The one that was silent longest, among those without models.
    auto oldest = sessions.end();
    for (auto at = sessions.begin(); at != sessions.end(); ++at) {
      const bool used = models.any([&](const Model& m) { return m.facts.session == at->first; });
      if (!used && (oldest == sessions.end() || at->second.heard_at < oldest->second.heard_at))
        oldest = at;
    }
    samplers.remove(oldest->first + ":");
    sessions.erase(oldest);
  }
  Session session;
  session.id = "s" + fleet::random_hex(8);
  session.heard_at = steady_now();
  session.user_metadata = metadata_of(body);
  const std::string id = session.id;
  sessions[id] = std::move(session);
  return {{"type", "create_session"}, {"session_id", id}};
}

Json Service::Impl::heartbeat(const HttpRequest&, const Json& body) {
  alive(text_of(body, "session_id"));
  return {{"type", "session_heartbeat"}};
}

Json Service::Impl::finish_session(const std::string& id) {
  Session& session = alive(id);
  session.finished = true;
  for (const ModelPtr& model : models.all()) {
    if (model->facts.session == id) models.remove(model->facts.id);
  }
  samplers.remove(id + ":");
  return Json::object();
}

Json Service::Impl::get_info(const HttpRequest&, const Json& body) {
  const ModelPtr model = models.find(text_of(body, "model_id"));
  Json data = {{"arch", to_string(config.family)}, {"model_name", model->facts.base_model}};
  // A client on this machine finds the tokenizer there.
  const std::filesystem::path folder = std::filesystem::absolute(options.trainee.model);
  if (std::filesystem::is_directory(folder))
    data["tokenizer_id"] = folder.lexically_normal().string();
  return {{"type", "get_info"},
          {"model_data", std::move(data)},
          {"model_id", model->facts.id},
          {"is_lora", model->facts.lora.rank > 0},
          {"lora_rank", lora_rank(model->facts.lora)},
          {"model_name", model->facts.base_model}};
}

Json Service::Impl::weights_info(const HttpRequest&, const Json& body) {
  const SavedNote note = store.open(parse_path(text_of(body, "tinker_path"))).note;
  return {{"base_model", note.base_model},
          {"is_lora", note.lora.rank > 0},
          {"lora_rank", lora_rank(note.lora)},
          {"train_unembed", note.lora.head && !config.tied_embeddings},
          {"train_mlp", note.lora.mlp},
          {"train_attn", note.lora.attention}};
}

Json Service::Impl::capabilities() const {
  return {{"supported_models",
           {{{"model_name", options.name},
             {"max_context_length", config.max_position},
             {"trainable", true},
             {"sampleable", true}}}}};
}

Json Service::Impl::session(const std::string& id) {
  const Session& found = alive(id);
  Json runs = Json::array();
  for (const ModelPtr& model : models.all()) {
    if (model->facts.session == id) runs.push_back(model->facts.id);
  }
  return {{"training_run_ids", std::move(runs)},
          {"sampler_ids", samplers.names(id + ":")},
          {"user_metadata", found.user_metadata}};
}

Json Service::Impl::training_run(const Model& model) {
  Json last, last_sampler;
  for (const Saved& saved : store.list(model.facts.id)) {
    Json& newest = saved.path.training ? last : last_sampler;
    if (newest.is_null()) newest = described(saved);
  }
  const auto silent = static_cast<int64_t>(steady_now() - model.asked_at);
  return {{"training_run_id", model.facts.id},
          {"base_model", model.facts.base_model},
          {"model_owner", "local"},
          {"is_lora", model.facts.lora.rank > 0},
          {"corrupted", model.failed.load()},
          {"lora_rank", lora_rank(model.facts.lora)},
          {"last_request_time", iso_time(std::time(nullptr) - silent)},
          {"last_checkpoint", std::move(last)},
          {"last_sampler_checkpoint", std::move(last_sampler)},
          {"user_metadata", model.facts.user_metadata}};
}

Json Service::Impl::training_runs(const HttpRequest& request) {
  std::vector<ModelPtr> all = models.all();
  const Window window = window_of(request);
  Json cursor = {{"offset", window.offset}, {"limit", window.limit}, {"total_count", all.size()}};
  cut(all, window);
  Json runs = Json::array();
  for (const ModelPtr& model : all) runs.push_back(training_run(*model));
  return {{"training_runs", std::move(runs)}, {"cursor", std::move(cursor)}};
}

Json Service::Impl::checkpoints(const HttpRequest& request, const std::string& run) {
  std::vector<Saved> all = store.list(run);
  const Window window = window_of(request);
  Json cursor = {{"offset", window.offset}, {"limit", window.limit}, {"total_count", all.size()}};
  cut(all, window);
  Json list = Json::array();
  for (const Saved& saved : all) list.push_back(described(saved));
  return {{"checkpoints", std::move(list)}, {"cursor", std::move(cursor)}};
}

Json Service::Impl::sampler(const std::string& id) {
  const Sampler found = samplers.find(id);
  return {{"sampler_id", found.id},
          {"base_model", found.base_model},
          {"model_path", found.model_path.empty() ? Json() : Json(found.model_path)}};
}

}  // namespace zeroth::tinker
