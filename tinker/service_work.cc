// What makes the engine work: learning, sampling, saving.
#include <ctime>

#include "tinker/losses.h"
#include "tinker/service_impl.h"

namespace zeroth::tinker {
namespace {

constexpr int64_t kMostWaiting = int64_t{512} << 20;
constexpr int64_t kMostNumber = 1'000'000;  // of a session's models and samplers

void check_optimizer(const Json* config) {
  if (config == nullptr) return;
  if (config->is_object() && config->value("type", Json("adamw")) == "adamw") return;
  throw Refusal{400, "'optimizer_config' is not adamw, which is what there is"};
}

std::string sampler_id(const std::string& session, int64_t number) {
  return session + ":sample:" + std::to_string(number);
}

std::optional<int64_t> seq_of(const Json& body) {
  return whole_of(body, "seq_id", 1, INT64_MAX - 1);
}

int64_t bytes_of(const LossRequest& request) {
  int64_t bytes = 256;
  for (const Datum& datum : request.data) {
    bytes += 256 + static_cast<int64_t>(datum.tokens.size() * sizeof(TokenId));
    for (const auto& [name, tensor] : datum.inputs)
      bytes += 256 + static_cast<int64_t>(tensor.size() * (tensor.integer ? 8 : 4));
  }
  return bytes;
}

int64_t needed(const Json& body, const char* name) {
  const auto value = whole_of(body, name, 0, kMostNumber);
  if (!value) throw Refusal{400, std::string("'") + name + "' is missing"};
  return *value;
}

}  // namespace

SavedNote Service::Impl::note_of(const Model& model, const Json& body) const {
  SavedNote note;
  note.base_model = model.facts.base_model;
  note.lora = model.facts.lora;
  note.saved_at = std::time(nullptr);
  if (const auto ttl = whole_of(body, "ttl_seconds", 1, int64_t{1} << 32))
    note.expires_at = note.saved_at + *ttl;
  note.user_metadata = metadata_of(body);
  return note;
}

Json Service::Impl::create_model(const HttpRequest&, const Json& body) {
  ModelFacts facts;
  facts.session = alive(text_of(body, "session_id")).id;
  facts.id = facts.session + ":train:" + std::to_string(needed(body, "model_seq_id"));
  facts.base_model = text_of(body, "base_model");
  check_base(facts.base_model);
  check_optimizer(find(body, "optimizer_config"));
  facts.lora = read_lora(find(body, "lora_config"));
  facts.user_metadata = metadata_of(body);
  const std::string id = facts.id, future = id + ":0";
  if (models.contains(id)) return promise(future, id);  // asked again
  models.create(
      facts, future,
      [with = options.trainee, lora = facts.lora] {
        return std::make_unique<Trainee>(with, lora, std::nullopt, false);
      },
      {{"type", "create_model"}, {"model_id", id}},
      [this](const std::string& session) { return heard_at(session); });
  return promise(future, id);
}

Json Service::Impl::unload_model(const HttpRequest&, const Json& body) {
  const std::string id = models.find(text_of(body, "model_id"))->facts.id;
  const std::string future = models.submit(id, std::nullopt, [id](Model& model) -> Result {
    model.trainee.reset();
    return Json{{"type", "unload_model"}, {"model_id", id}};
  });
  models.remove(id);
  return promise(future, id);
}

Json Service::Impl::submit_loss(LossRequest request) {
  if (request.seq && *request.seq < 1) throw Refusal{400, "'seq_id' is not above 0"};
  const std::string id = request.model_id;
  const int64_t bytes = bytes_of(request);
  if (*waiting_bytes > 0 && *waiting_bytes + bytes > kMostWaiting)
    throw Refusal{429, "512 MiB of data wait to be learnt from; try again in a moment"};
  *waiting_bytes += bytes;
  const std::shared_ptr<const LossRequest> shared(
      new LossRequest(std::move(request)), [bytes, waiting = waiting_bytes](LossRequest* done) {
        delete done;
        *waiting -= bytes;
      });
  const std::string future = models.submit(id, shared->seq, [shared](Model& model) -> Result {
    if (shared->bad) throw *shared->bad;
    return model.trainee->run(*shared);
  });
  return promise(future, id);
}

Json Service::Impl::forward(const HttpRequest&, const Json& body) {
  return submit_loss(read_loss_request(body, true));
}

Json Service::Impl::forward_backward(const HttpRequest& request, const Json& body) {
  return submit_loss(body.is_object() ? read_loss_request(body, false)
                                      : read_loss_request(std::string_view(request.body)));
}

Json Service::Impl::optim_step(const HttpRequest&, const Json& body) {
  const std::string id = text_of(body, "model_id");
  const Json* params = find(body, "adam_params");
  if (params == nullptr) params = find(body, "optim_params");
  const bool other = find(body, "optimizer_params") != nullptr || params == nullptr;
  const std::string future =
      models.submit(id, seq_of(body),
                    [other, with = params == nullptr ? Json() : *params](Model& model) -> Result {
                      if (other)
                        throw Refusal{400, "'adam_params' is missing; the optimizer is adamw"};
                      return Json{{"metrics", model.trainee->step(with)}};
                    });
  return promise(future, id);
}

Json Service::Impl::save_weights(const HttpRequest&, const Json& body) {
  const ModelPtr model = models.find(text_of(body, "model_id"));
  const std::string id = model->facts.id;
  const bool overwrite = flag_of(body, "overwrite", false);
  const SavedNote note = note_of(*model, body);
  const std::string name = text_of(body, "path", "");
  const std::string future =
      models.submit(id, seq_of(body), [this, id, name, note, overwrite](Model& of) -> Result {
        SavedNote with = note;
        with.steps = of.trainee->steps();
        SavedPath path = {id, name.empty() ? "step-" + std::to_string(with.steps) : name, true};
        check_name(path.name);
        store.save(path, with, overwrite || name.empty(),
                   [&](const std::filesystem::path& to) { of.trainee->save(to); });
        samplers.forget(path);
        return Json{{"type", "save_weights"}, {"path", path.uri()}};
      });
  return promise(future, id);
}

Json Service::Impl::save_for_sampler(const HttpRequest&, const Json& body) {
  const ModelPtr model = models.find(text_of(body, "model_id"));
  const std::string id = model->facts.id, name = text_of(body, "path", "");
  if (name.empty()) return save_snapshot(body, id);
  const SavedNote note = note_of(*model, body);
  const std::string future =
      models.submit(id, seq_of(body), [this, id, name, note](Model& of) -> Result {
        SavedNote with = note;
        with.steps = of.trainee->steps();
        check_name(name);
        const SavedPath path = {id, name, false};
        store.save(path, with, true,
                   [&](const std::filesystem::path& to) { of.trainee->save_model(to); });
        samplers.forget(path);
        return Json{{"type", "save_weights_for_sampler"}, {"path", path.uri()}};
      });
  return promise(future, id);
}

// A sampling session of the weights of now, in memory alone.
Json Service::Impl::save_snapshot(const Json& body, const std::string& model_id) {
  const ModelPtr model = models.find(model_id);
  const std::string sampler =
      sampler_id(model->facts.session, needed(body, "sampling_session_seq_id"));
  const std::string kind = text_of(body, "kind", "snapshot");
  if (kind != "snapshot" && kind != "inflight")
    throw Refusal{400, "'kind' is neither snapshot nor inflight"};
  const bool shared = kind == "inflight";
  const std::string future =
      models.submit(model_id, seq_of(body), [this, sampler, shared](Model& of) -> Result {
        const WeightsSlotPtr slot = samplers.create(
            sampler, of.facts.base_model, of.trainee->weights(), shared ? of.inflight : nullptr);
        if (shared) of.inflight = slot;
        return Json{{"type", "save_weights_for_sampler"}, {"sampling_session_id", sampler}};
      });
  return promise(future, model_id);
}

Json Service::Impl::load_weights(const HttpRequest&, const Json& body) {
  const SavedPath path = parse_path(text_of(body, "path"));
  const bool moments = flag_of(body, "optimizer", false);
  const std::string id = text_of(body, "model_id", "");
  if (id.empty()) return load_new(body, path, moments);
  const std::string future =
      models.submit(id, seq_of(body), [this, id, path, moments](Model& model) -> Result {
        const SavedNote note = store.open(path).note;
        if (note.base_model != model.facts.base_model ||
            note.lora.json() != model.facts.lora.json()) {
          throw Refusal{400, path.uri() + " is of another base model or adapter than " + id +
                                 "; create_training_client_from_state makes a model of it"};
        }
        model.trainee =
            std::make_unique<Trainee>(options.trainee, note.lora, store.checkpoint(path), moments);
        return Json{{"type", "load_weights"}, {"path", path.uri()}, {"model_id", id}};
      });
  return promise(future, id);
}

// A model that begins with a state.
Json Service::Impl::load_new(const Json& body, const SavedPath& path, bool moments) {
  ModelFacts facts;
  facts.session = alive(text_of(body, "session_id")).id;
  facts.id = facts.session + ":train:" + std::to_string(needed(body, "model_seq_id"));
  const SavedNote note = store.open(path).note;
  facts.base_model = text_of(body, "base_model", note.base_model);
  check_base(facts.base_model);
  if (note.base_model != facts.base_model)
    throw Refusal{400, path.uri() + " is of base model \"" + note.base_model + "\""};
  check_optimizer(find(body, "optimizer_config"));
  facts.lora = note.lora;
  facts.user_metadata = metadata_of(body);
  const std::string id = facts.id, future = id + ":0";
  if (models.contains(id)) return promise(future, id);
  models.create(
      facts, future,
      [this, lora = note.lora, path, moments] {
        return std::make_unique<Trainee>(options.trainee, lora, store.checkpoint(path), moments);
      },
      {{"type", "load_weights"}, {"path", path.uri()}, {"model_id", id}},
      [this](const std::string& session) { return heard_at(session); });
  return promise(future, id);
}

Json Service::Impl::create_sampling_session(const HttpRequest&, const Json& body) {
  const std::string session = alive(text_of(body, "session_id")).id;
  const std::string id = sampler_id(session, needed(body, "sampling_session_seq_id"));
  const std::string uri = text_of(body, "model_path", "");
  std::string name = text_of(body, "base_model", "");
  std::optional<SavedPath> path;
  if (!uri.empty()) {
    path = parse_path(uri);
    const std::string saved = store.open(*path).note.base_model;
    if (!name.empty() && name != saved)
      throw Refusal{400, uri + " is of base model \"" + saved + "\""};
    name = saved;
  }
  check_base(name);
  samplers.create(id, name, path);
  return {{"type", "create_sampling_session"}, {"sampling_session_id", id}};
}

Json Service::Impl::sample(const HttpRequest&, const Json& body) {
  SampleRequest request = read_sample_request(body, options.engine.queue);
  std::string id = request.sampler_id;
  if (id.empty()) {
    // Without a session: one of its own for each path, and the base.
    id = "loose:" + (request.model_path.empty() ? "base" : request.model_path);
    if (request.model_path.empty()) check_base(request.base_model);
    std::optional<SavedPath> path;
    if (!request.model_path.empty()) path = parse_path(request.model_path);
    samplers.create(id, options.name, path);
    request.seq = static_cast<int64_t>(++loose_samples);
  } else if (!request.seq) {
    throw Refusal{400, "'seq_id' is missing beside 'sampling_session_id'"};
  }
  const Sampler sampler = samplers.find(id);
  if (const auto found = sessions.find(id.substr(0, id.find(':'))); found != sessions.end())
    alive(found->first);
  if (!sampler.model_path.empty()) store.open(parse_path(sampler.model_path));
  const std::string future = id + ":" + std::to_string(*request.seq);
  Json ids = Json::array();
  for (int i = 0; i < request.samples; ++i) ids.push_back(future + ":" + std::to_string(i));
  if (futures.begin(future)) {
    try {
      engine.sample(future, std::move(request), sampler);
    } catch (...) {
      futures.forget(future);
      throw;
    }
  }
  Json out = promise(future, "");
  out["sample_sequence_ids"] = std::move(ids);
  return out;
}

}  // namespace zeroth::tinker
