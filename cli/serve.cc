// `zeroth serve`: a checkpoint behind the OpenAI completion protocols.
#include <algorithm>
#include <csignal>
#include <cstdio>

#include "cli/commands.h"
#include "cli/http_command.h"
#include "cli/interrupt.h"
#include "cli/shipped.h"
#include "cli/usage.h"
#include "core/config.h"
#include "core/files.h"
#include "kernels/ops.h"
#include "model/formats/gguf_model.h"
#include "policy/adapted.h"
#include "policy/device_config.h"
#include "policy/publish_config.h"
#include "rollout/fleet/access.h"
#include "rollout/serve/chat_prompt.h"
#include "rollout/serve/completion_service.h"

namespace zeroth {
namespace {

struct ServeFlags {
  std::string model, adapter, name, listen = "127.0.0.1:8000", token_file, certificate, key;
  PublishConfig publish;
  DeviceConfig device;
  int batch = 64, cache_mb = 1024, queue = 1024;
  int draft_tokens = EngineConfig().draft_tokens;
  bool draft_layer = false;
  template <class V>
  void fields(V& v) {
    v("model", model, "folder of the checkpoint, or a .gguf file");
    v("adapter", adapter, "folder of a PEFT adapter for the model");
    v("name", name, "what requests call the model; default the folder's name");
    publish.fields(v);
    device.fields(v);
    v("listen", listen, "HOST:PORT; port 0 = any free one");
    v("token_file", token_file, "file with a key a line that clients must send; empty: none");
    v("certificate", certificate, "PEM certificate chain: TLS 1.3 only; empty: plain HTTP");
    v("key", key, "PEM key of the certificate");
    v("batch", batch, "completions decoded together; never changes them", Range{1, 65536});
    v("cache_mb", cache_mb, "memory bound of the KV cache in MiB", Range{1, 1 << 20});
    v("draft_tokens", draft_tokens, EngineConfig::kDraftHelp, EngineConfig::kDraftRange);
    v("draft_layer", draft_layer, EngineConfig::kLayerHelp);
    v("queue", queue, "completions that run or wait; further requests are told to try again",
      Range{1, 1 << 20});
  }
};

// Reads the bodies' limits and keys; everything else is the service's.
class Server {
 public:
  Server(const ServeFlags& flags, const HttpServerOptions& options,
         serve::CompletionService& service)
      : service_(service), server_(options) {
    if (!flags.token_file.empty()) tokens_ = fleet::TokenList::from_file(flags.token_file);
    server_.start(
        [this](const HttpRequest& request, uint64_t& bytes) { return admit(request, bytes); },
        [this](const HttpExchangePtr& exchange) { handle(exchange); });
  }
  HttpServer& http() { return server_; }

 private:
  std::optional<HttpReply> admit(const HttpRequest& request, uint64_t& bytes) const {
    constexpr uint64_t kOfOthers = 64 << 10;  // so that a wrong path is told from a long body
    bytes = std::max(kOfOthers, serve::CompletionService::body_limit(request.path));
    if (!tokens_ || request.path == "/healthz" || tokens_->role_of(request.bearer()))
      return std::nullopt;
    HttpReply reply;
    reply.status = 401;
    reply.headers = {{"WWW-Authenticate", "Bearer"}};
    reply.text =
        R"({"error":{"message":"a key is needed: Authorization: Bearer KEY","type":"invalid_request_error","param":null,"code":"invalid_api_key"}})";
    return reply;
  }

  void handle(const HttpExchangePtr& exchange) {
    const HttpRequest& request = exchange->request();
    if (request.path == "/healthz") return exchange->reply({.text = R"({"status":"ok"})"});
    if (request.path == "/metrics")
      return exchange->reply({.type = "text/plain; version=0.0.4", .text = metrics()});
    if (service_.handle(exchange)) return;
    exchange->reply(
        {.status = 404,
         .text =
             R"({"error":{"message":"there are /v1/models, /v1/completions and /v1/chat/completions","type":"invalid_request_error","param":null,"code":null}})"});
  }

  std::string metrics() const {
    const serve::ServiceStats s = service_.stats();
    std::string out;
    const auto line = [&](const char* name, const char* type, int64_t value) {
      add_metric(out, std::string("zeroth_serve_") + name, type, value);
    };
    line("in_flight", "gauge", s.in_flight);
    line("connections", "gauge", server_.stats().connections);
    line("requests_total", "counter", s.requests);
    line("refused_total", "counter", s.refused);
    line("busy_total", "counter", s.busy);
    line("abandoned_total", "counter", s.abandoned);
    line("completions_total", "counter", s.completions);
    line("prompt_tokens_total", "counter", s.prompt_tokens);
    line("sampled_tokens_total", "counter", s.sampled_tokens);
    line("draft_tokens_total", "counter", s.draft_tokens);
    line("draft_accepted_total", "counter", s.draft_accepted);
    return out;
  }

  serve::CompletionService& service_;
  std::optional<fleet::TokenList> tokens_;
  HttpServer server_;
};

}  // namespace

int run_serve(const Args& args) {
  ServeFlags flags;
  if (asks_for_help(args)) return print_usage("zeroth serve --model DIR [options]", flags);
  const Args rest = parse_flags(flags, args, "serve");
  if (!rest.empty()) fail_usage("zeroth serve: unexpected argument \"" + rest[0] + "\"");
  if (flags.model.empty())
    fail_usage("zeroth serve: no --model", "give the folder of a checkpoint, --model DIR");
  const HttpServerOptions options = listening(flags.listen, flags.certificate, flags.key);

  flags.model = find_shipped(flags.model);
  const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(flags.model);
  const WeightsPtr weights = load_adapted_weights(
      flags.model, flags.adapter, flags.publish.element(), flags.device.operators());
  const PolicyConfig config = weights->config();
  serve::ServedModel model;
  model.name = flags.name.empty() ? served_name(flags.model) : flags.name;
  model.config = &config;
  model.tokenizer = tokenizer.get();
  model.render = serve::chat_renderer(*tokenizer);
  model.most_samples = flags.queue;
  serve::ServiceOptions service_options;
  service_options.engine.max_batch = flags.batch;
  service_options.engine.cache_mb = flags.cache_mb;
  service_options.engine.draft_tokens = flags.draft_tokens;
  service_options.engine.draft_layer = flags.draft_layer;
  service_options.queue = flags.queue;

  std::signal(SIGPIPE, SIG_IGN);
  const std::atomic<bool>& stop = stop_on_interrupt("ending");
  serve::CompletionService service(weights, model, service_options);
  Server server(flags, options, service);
  return serve_until_signal(server.http(), options, "/v1", "serving " + model.name, stop);
}

}  // namespace zeroth
