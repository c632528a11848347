// What a coordinator and a worker read from the network: bodies of every message, deltas of weights,
// results; and the file of tokens. Whatever the bytes, they are read or refused, in bounded time and memory.
#include <zstd.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "fuzz/cpu_limit.h"
#include "rollout/fleet/access.h"
#include "rollout/fleet/audit.h"
#include "rollout/fleet/messages.h"
#include "rollout/serve/completion_request.h"

namespace {

using namespace zeroth;
using namespace zeroth::fleet;

const PolicyConfig& model() {
  static const PolicyConfig config = PolicyConfig::from_json(
      parse_json(R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
        "vocab_size": 40, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 16,
        "max_position_embeddings": 64, "hidden_act": "silu", "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0, "tie_word_embeddings": true})",
                 "fuzz"),
      "fuzz");
  return config;
}

GenerationRequest request(int samples) {
  GenerationRequest out;
  out.prompt = {1, 2, 3};
  out.samples = samples;
  out.sampling.max_tokens = 8;
  return out;
}

class Words : public Tokenizer {
 public:
  std::vector<TokenId> encode(std::string_view text, bool) const override {
    return std::vector<TokenId>(text.size() % 70, 3);
  }
  std::string decode(std::span<const TokenId> ids, bool) const override {
    return std::string(ids.size(), 'x');
  }
  std::string token_bytes(TokenId) const override { return "x"; }
  int vocab_size() const override { return 40; }
};

// The bytes as a delta, and as what its only frame holds packed: as few values that differ, as all.
void read_deltas(const std::string& bytes) {
  static const auto layout = std::make_shared<const ImageLayout>(model());
  std::string packed(ZSTD_compressBound(bytes.size()), '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), bytes.data(), bytes.size(), 1));
  const auto length = static_cast<uint32_t>(packed.size() + 1);
  const std::string head(reinterpret_cast<const char*>(&length), sizeof length);
  for (const std::string& delta : {bytes, head + "s" + packed, head + "d" + packed}) {
    WeightsImage image(layout);
    try {
      apply_delta(delta, image);
    } catch (const Error&) {
    }
  }
}

void read_messages(const Json& json) {
  const auto each = [&](const auto& read) {
    try {
      read();
    } catch (const Error&) {
    }
  };
  each([&] { Hello::from_json(json).to_json(); });
  each([&] { Welcome::from_json(json).to_json(); });
  each([&] { Lease::from_json(json).to_json(); });
  each([&] { LeasesAsked::from_json(json).to_json(); });
  each([&] { LeasesGiven::from_json(json).to_json(); });
  each([&] { Progress::from_json(json).to_json(); });
  each([&] { WeightsManifest::from_json(json, 1 << 20).to_json(); });
  each([&] {
    Result result = Result::from_json(json);
    check_shape(request(static_cast<int>(result.samples.size() % 5)), model(), nullptr, false,
                result.samples);
  });
  static const Words words;
  serve::ServedModel served;
  served.name = "m";
  served.config = &model();
  served.tokenizer = &words;
  served.render = [](const Json& body) {
    return body.dump(-1, ' ', false, Json::error_handler_t::replace);
  };
  for (const bool chat : {false, true}) {
    try {
      serve::read_completion_request(json, chat, served, 1);
    } catch (const serve::BadRequest&) {
    }
  }
}

void read_tokens(const std::string& bytes) {
  try {
    const std::string first = TokenList::first_token(bytes, "fuzz");
    const TokenList list = TokenList::from_text(bytes, "fuzz");
    if (list.role_of(first) == std::nullopt || list.role_of("") != std::nullopt) __builtin_trap();
    list.name_of(first);
  } catch (const Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  const CpuLimit limit(5);
  for (const char* type : {kMessagePackType, kJsonType}) {
    try {
      read_messages(decode_body(bytes, type));
    } catch (const Error&) {
    }
  }
  read_deltas(bytes);
  read_tokens(bytes);
  return 0;
}
