// `zeroth tinker`: a base model to train and sample by the Tinker protocol.
#include <algorithm>
#include <csignal>
#include <cstdio>

#include "cli/commands.h"
#include "cli/http_command.h"
#include "cli/interrupt.h"
#include "cli/shipped.h"
#include "cli/usage.h"
#include "core/config.h"
#include "policy/device_config.h"
#include "policy/publish_config.h"
#include "rollout/fleet/access.h"
#include "tinker/futures.h"
#include "tinker/service.h"

namespace zeroth {
namespace {

struct TinkerFlags {
  std::string model, name, out = "runs/tinker", listen = "127.0.0.1:8000", token_file, certificate,
                           key;
  PublishConfig publish;
  DeviceConfig device;
  double lora_alpha = tinker::TraineeOptions().lora_alpha;
  int64_t batch_tokens = tinker::TraineeOptions().batch_tokens;
  int models = 4, samplers = 4, batch = 64, cache_mb = 1024, queue = 2048;
  int draft_tokens = EngineConfig().draft_tokens;
  uint64_t seed = 0;
  template <class V>
  void fields(V& v) {
    v("model", model, "folder of the base checkpoint, or a .gguf file");
    v("name", name, "what requests call it (base_model); default the folder's name");
    v("out", out,
      "where save_state and save_weights_for_sampler write, and states are loaded from");
    publish.fields(v);
    device.fields(v);
    v("listen", listen, "HOST:PORT; port 0 = any free one");
    v("token_file", token_file,
      "file with a key a line that clients must send (TINKER_API_KEY, beginning with tml-); empty: "
      "any will do");
    v("certificate", certificate, "PEM certificate chain: TLS 1.3 only; empty: plain HTTP");
    v("key", key, "PEM key of the certificate");
    v("models", models, "models that learn at a time; each takes what `zeroth describe` says",
      Range{1, 1024});
    v("samplers", samplers,
      "sets of weights to sample by that are kept in memory besides the base; of more, snapshots "
      "are let go of, oldest use first, and saved ones are read again",
      Range{1, 1024});
    v("lora_alpha", lora_alpha, "an adapter of rank r adds lora_alpha / r B A", Range{1e-6, 1e6});
    v("batch_tokens", batch_tokens, "tokens of a forward call that learns; changes no result",
      Range{1, 1 << 24});
    v("batch", batch, "samples decoded together; changes no result", Range{1, 65536});
    v("cache_mb", cache_mb, "memory bound of the KV cache in MiB", Range{1, 1 << 20});
    v("draft_tokens", draft_tokens, EngineConfig::kDraftHelp, EngineConfig::kDraftRange);
    v("queue", queue, "samples that run or wait; further requests are told to try again",
      Range{1, 1 << 20});
    v("seed", seed, "of samples whose request has none");
  }
};

tinker::ServiceOptions service_options(const TinkerFlags& flags) {
  tinker::ServiceOptions options;
  options.name = flags.name.empty() ? served_name(flags.model) : flags.name;
  options.out = flags.out;
  options.models = flags.models;
  options.samplers = flags.samplers;
  options.trainee.model = flags.model;
  options.trainee.element = flags.publish.element();
  options.trainee.operators = &flags.device.operators();
  options.trainee.lora_alpha = flags.lora_alpha;
  options.trainee.batch_tokens = flags.batch_tokens;
  options.engine.sampling.max_batch = flags.batch;
  options.engine.sampling.cache_mb = flags.cache_mb;
  options.engine.sampling.draft_tokens = flags.draft_tokens;
  options.engine.queue = flags.queue;
  options.engine.seed = flags.seed;
  return options;
}

std::string metrics_of(const tinker::ServiceStats& stats) {
  std::string out;
  const auto line = [&](const char* name, const char* type, int64_t value) {
    add_metric(out, std::string("zeroth_tinker_") + name, type, value);
  };
  line("sessions", "gauge", stats.sessions);
  line("models", "gauge", stats.models);
  line("pending", "gauge", stats.pending);
  line("waiting_samples", "gauge", stats.engine.waiting_samples);
  line("requests_total", "counter", stats.requests);
  line("refused_total", "counter", stats.refused);
  line("samples_total", "counter", stats.engine.samples);
  line("sampled_tokens_total", "counter", stats.engine.sampled_tokens);
  return out;
}

// Keys and the limits of bodies; everything else is the service's.
class Door {
 public:
  explicit Door(const std::string& token_file) {
    if (!token_file.empty()) tokens_ = fleet::TokenList::from_file(token_file);
  }

  std::optional<HttpReply> admit(const HttpRequest& request, uint64_t& bytes) const {
    bytes = tinker::Service::body_limit(request.path);
    const std::string& key = request.header("x-api-key");
    if (!tokens_ || request.path == "/api/v1/healthz" ||
        tokens_->role_of(key.empty() ? request.bearer() : key))
      return std::nullopt;
    return tinker::refusal_reply(401,
                                 "a key is needed: X-API-Key, or TINKER_API_KEY of the client");
  }

 private:
  std::optional<fleet::TokenList> tokens_;
};

}  // namespace

int run_tinker(const Args& args) {
  TinkerFlags flags;
  if (asks_for_help(args)) return print_usage("zeroth tinker --model DIR [options]", flags);
  const Args rest = parse_flags(flags, args, "tinker");
  if (!rest.empty()) fail_usage("zeroth tinker: unexpected argument \"" + rest[0] + "\"");
  if (flags.model.empty())
    fail_usage("zeroth tinker: no --model", "give the folder of a checkpoint, --model DIR");
  flags.model = find_shipped(flags.model);
  const HttpServerOptions options = listening(flags.listen, flags.certificate, flags.key);

  std::signal(SIGPIPE, SIG_IGN);
  const std::atomic<bool>& stop = stop_on_interrupt("ending; what is not saved is lost");
  const Door door(flags.token_file);
  const tinker::ServiceOptions with = service_options(flags);
  tinker::Service service(with);
  HttpServer server(options);
  server.every(1, [&] { service.sweep(); });
  server.start(
      [&](const HttpRequest& request, uint64_t& bytes) { return door.admit(request, bytes); },
      [&](const HttpExchangePtr& exchange) {
        if (exchange->request().path == "/metrics") {
          exchange->reply(
              {.type = "text/plain; version=0.0.4", .text = metrics_of(service.stats())});
        } else {
          service.handle(exchange);
        }
      });
  return serve_until_signal(
      server, options, "",
      "serving " + with.name + " to Tinker clients (TINKER_BASE_URL); weights go to " + flags.out,
      stop);
}

}  // namespace zeroth
