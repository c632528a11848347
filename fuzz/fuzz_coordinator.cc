// A coordinator and what a worker with a token may ask of it, over a socket of this machine: an
// input is some lines "METHOD PATH BODY", the body JSON that travels as MessagePack. In paths and
// texts $S is a session that holds the leases $0, $1 and $2, $W the weights' hash. Whatever comes,
// every request is answered, and nothing but what was lent is delivered.
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>

#include "core/error.h"
#include "core/files.h"
#include "core/json_text.h"
#include "kernels/ops.h"
#include "net/digest.h"
#include "net/http_client.h"
#include "policy/policy.h"
#include "rollout/fleet/coordinator.h"

namespace {

using namespace zeroth;
using namespace zeroth::fleet;

constexpr char kToken[] = "a-token-of-the-fuzzer";
constexpr int kGroups = 3, kSamples = 2, kTokens = 8, kMostLines = 12;

const Policy& policy() {
  static const auto made =
      Policy::init(PolicyConfig::from_json(
                       parse_json(R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
            "vocab_size": 40, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 16,
            "max_position_embeddings": 64, "hidden_act": "silu", "rms_norm_eps": 1e-6,
            "rope_theta": 10000.0, "tie_word_embeddings": true})",
                                  "fuzz"),
                       "fuzz"),
                   1);
  return *made;
}

struct Fleet {
  Fleet() {
    std::string name = "/tmp/zeroth-fuzz-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) __builtin_trap();
    write_file_atomic(std::filesystem::path(name) / "token", std::string(kToken) + "\n");
    FleetConfig config;
    config.listen = "127.0.0.1:0";
    config.token_file = name + "/token";
    config.max_workers = 20;
    FleetSetup setup;
    setup.model = policy().config();
    coordinator = std::make_unique<Coordinator>(config, setup);
    std::filesystem::remove_all(name);
    weights = coordinator->publish(*policy().weights());
    client = std::make_unique<HttpClient>(parse_http_url(coordinator->url()), 64 << 20);
  }
  HttpAnswer send(const std::string& method, const std::string& target, const std::string& body) {
    HttpCall call{.method = method, .target = target, .body = body, .type = kMessagePackType};
    call.headers = {{"Authorization", std::string("Bearer ") + kToken}};
    if (!body.empty()) call.headers.emplace_back(kDigestHeader, content_digest(body));
    return client->send(call, 5, 25);
  }
  Json good(const std::string& target, const Json& message) {
    const HttpAnswer answer = send("POST", target, encode_body(message, kMessagePackType));
    if (answer.status != 200) __builtin_trap();
    return decode_body(answer.body, kMessagePackType);
  }
  // A generate() begins, and an honest worker takes all of it.
  void begin() {
    coordinator->end();
    coordinator->begin();
    std::vector<GenerationRequest> requests(kGroups);
    for (int i = 0; i < kGroups; ++i) {
      requests[i].prompt = {1, 2, 3};
      requests[i].problem = static_cast<uint32_t>(i);
      requests[i].samples = kSamples;
      requests[i].sampling.max_tokens = kTokens;
    }
    coordinator->add({0, 1, 2}, requests, weights, WeightsUse::kSwitch);
    Hello hello;
    hello.identity.contract = kernels::contract_hash();
    hello.name = "honest";
    session = Welcome::from_json(good("/v1/hello", hello.to_json())).session;
    leases.clear();
    while (leases.size() < kGroups) {
      const LeasesAsked asked{session, kGroups * kSamples, weights, 0};
      for (const Lease& lease : LeasesGiven::from_json(good("/v1/leases", asked.to_json())).leases)
        leases.push_back(std::to_string(lease.id));
    }
  }
  // Every piece at most once, and as it was asked for.
  void check() {
    std::set<int> seen;
    while (const auto delivery = coordinator->next(0)) {
      if (delivery->samples.size() != kSamples) __builtin_trap();
      if (delivery->rival.empty() && !seen.insert(delivery->request).second) __builtin_trap();
      for (const Sample& sample : delivery->samples)
        if (sample.tokens.empty() || sample.tokens.size() > kTokens) __builtin_trap();
    }
  }
  std::string told(std::string text) const {
    for (size_t at = text.find('$'); at != std::string::npos && at + 1 < text.size();
         at = text.find('$', at + 1)) {
      const char what = text[at + 1];
      if (what == 'S') text.replace(at, 2, session);
      if (what == 'W') text.replace(at, 2, weights);
      if (what >= '0' && what < '0' + kGroups) text.replace(at, 2, leases[what - '0']);
    }
    return text;
  }

  std::unique_ptr<Coordinator> coordinator;
  std::unique_ptr<HttpClient> client;
  std::string weights, session;
  std::vector<std::string> leases;
};

// A line's request; false: it is none.
bool ask(Fleet& fleet, const std::string& line) {
  const size_t first = line.find(' ');
  const size_t second = std::min(line.find(' ', first + 1), line.size());
  if (first == std::string::npos) return false;
  const std::string method = line.substr(0, first);
  const std::string path = fleet.told(line.substr(first + 1, second - first - 1));
  if (method != "GET" && method != "POST" && method != "PUT" && method != "DELETE") return false;
  if (path.empty() || path[0] != '/') return false;
  for (const char c : path)
    if (c <= ' ' || c == 127) return false;
  const std::string text = fleet.told(line.substr(std::min(second + 1, line.size())));
  const auto json = try_parse_json(text, {16, 10000});
  // No long poll for what never comes.
  if (path.rfind("/v1/weights", 0) == 0) return false;
  if (json && json->is_object() && json->value("wait_s", Json(0)) != Json(0)) return false;
  try {
    const HttpAnswer answer =
        fleet.send(method, path, json ? encode_body(*json, kMessagePackType) : text);
    if (answer.status >= 500) __builtin_trap();
  } catch (const HttpFault& fault) {
    if (fault.kind == HttpFaultKind::kTimeout) __builtin_trap();
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Fleet fleet;
  fleet.begin();
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  int lines = 0;
  for (size_t at = 0; at < bytes.size() && lines < kMostLines;) {
    const size_t end = std::min(bytes.find('\n', at), bytes.size());
    lines += ask(fleet, bytes.substr(at, end - at));
    at = end + 1;
  }
  fleet.check();
  return 0;
}
