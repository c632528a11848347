#include "tinker/messages.h"

#include <doctest/doctest.h>

#include "core/json_text.h"
#include "core/rng.h"
#include "tinker/protobuf.h"
#include "tinker/store.h"

using namespace zeroth;
using namespace zeroth::tinker;

namespace {

// A request as the public client writes it, with a packed shape, spans and both kinds of config.
std::string packed() {
  WireWriter text, chunk, tensor, entry, datum, number, config, out;
  const std::vector<int32_t> tokens = {7, 8, 9};
  text.array(1, std::span<const int32_t>(tokens));
  chunk.bytes(1, text.str());
  const std::vector<float> values = {0.5f, -1, 2};
  tensor.array(1, std::span<const float>(values));
  tensor.varint(3, 1);
  tensor.bytes(4, "\x03");
  entry.bytes(1, "weights");
  entry.bytes(2, tensor.str());
  datum.bytes(1, chunk.str());
  datum.bytes(2, entry.str());
  datum.bytes(3, "");
  number.real(1, 0.9);
  config.bytes(1, "clip");
  config.bytes(2, number.str());
  out.bytes(1, "s1:train:0");
  out.varint(2, 300);
  out.bytes(3, datum.str());
  out.bytes(4, "ppo");
  out.bytes(7, config.str());
  out.varint(6, 1);
  return out.str();
}

template <class F>
std::string refusal(const F& f) {
  try {
    f();
  } catch (const Refusal& refusal) {
    return refusal.message;
  }
  return "";
}

}  // namespace

TEST_CASE("forward_backward is read from protocol buffers") {
  const LossRequest read = read_loss_request(std::string_view(packed()));
  CHECK(!read.bad);
  CHECK(read.model_id == "s1:train:0");
  CHECK(read.seq == 300);
  CHECK(read.loss == "ppo");
  CHECK(read.forward_only);
  CHECK(read.config == std::map<std::string, double>{{"clip", 0.9}});
  REQUIRE(read.data.size() == 1);
  CHECK(read.data[0].tokens == std::vector<TokenId>{7, 8, 9});
  const Tensor& weights = read.data[0].inputs.at("weights");
  CHECK(weights.real == std::vector<float>{0.5f, -1, 2});
  CHECK(weights.shape == std::vector<int64_t>{3});
}

TEST_CASE("what is cut off or changed is refused or read, within bounds") {
  const std::string whole = packed();
  int refused = 0;
  const auto read = [&](const std::string& bytes) {
    try {
      refused += read_loss_request(std::string_view(bytes)).bad.has_value();
    } catch (const Refusal&) {
      ++refused;
    }
  };
  for (size_t size = 0; size < whole.size(); ++size) read(whole.substr(0, size));
  CHECK(refused > static_cast<int>(whole.size()) / 2);
  Rng rng(1, 2);
  for (int i = 0; i < 20000; ++i) {
    std::string other = whole;
    for (uint32_t n = rng.below(4) + 1; n > 0; --n)
      other[rng.below(static_cast<uint32_t>(other.size()))] = static_cast<char>(rng.below(256));
    read(other);
  }
}

TEST_CASE("samples are written as the client reads them") {
  SampleResult result;
  result.sequences.push_back({true, {1, 2}, {-0.5f, -1}});
  result.sequences.push_back({false, {3}, {-2}});
  result.prompt_logprobs = {std::nanf(""), -3};
  const std::string bytes = to_protobuf(Result(result));
  ProtoReader reader(bytes, "a result");
  std::vector<uint64_t> reasons;
  size_t prompts = 0;
  while (reader.next()) {
    if (reader.field() == 2) prompts = reader.bytes().size();
    if (reader.field() != 1) continue;
    ProtoReader one(reader.bytes(), "a sequence");
    while (one.next()) {
      if (one.field() == 1) reasons.push_back(one.varint());
    }
  }
  CHECK(reasons == std::vector<uint64_t>{0, 1});
  CHECK(prompts == 8);
  const auto json = try_parse_json(to_json(Result(result)));
  REQUIRE(json);
  CHECK((*json)["sequences"][0]["stop_reason"] == "stop");
  CHECK((*json)["prompt_logprobs"] == Json({nullptr, -3.0}));
}

TEST_CASE("paths of weights lead nowhere else") {
  const SavedPath path = parse_path("tinker://s1:train:0/weights/a-b_c.1");
  CHECK(path.training);
  CHECK(path.uri() == "tinker://s1:train:0/weights/a-b_c.1");
  CHECK(!parse_path("tinker://s1/sampler_weights/x").training);
  for (const char* bad :
       {"", "tinker://", "tinker://a/weights", "tinker://a/weights/", "tinker://a/weights/../x",
        "tinker://../weights/x", "tinker://a/other/x", "tinker://a/weights/x/y",
        "http://a/weights/x", "tinker:///weights/x", "tinker://a/weights/.x",
        "tinker://a b/weights/x", "tinker://a/weights/x:y"}) {
    CAPTURE(bad);
    CHECK(refusal([&] { parse_path(bad); }).find("no path of weights") != std::string::npos);
  }
}

TEST_CASE("adapters of requests") {
  const Json config = {{"rank", 8}, {"seed", 5}, {"train_attn", false}};
  const LoraSpec lora = read_lora(&config);
  CHECK(lora.rank == 8);
  CHECK(lora.seed == 5);
  CHECK(!lora.attention);
  CHECK(lora.mlp);
  CHECK(LoraSpec::from_json(lora.json()).json() == lora.json());
  CHECK(read_lora(nullptr).rank == 0);
  const Json bad = {{"rank", 1.5}};
  CHECK(refusal([&] { read_lora(&bad); }).find("rank") != std::string::npos);
}
