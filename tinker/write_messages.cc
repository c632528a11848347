#include <cmath>

#include "tinker/messages.h"
#include "tinker/protobuf.h"

namespace zeroth::tinker {
namespace {

constexpr char kOutputType[] = "ArrayRecord";
constexpr uint64_t kFloat32 = 1;

// The arrays of all data behind each other, with where each begins and ends in bytes.
std::string batched(const LossResult& result,
                    const std::vector<float> LossResult::OfDatum::*member) {
  std::vector<float> values;
  std::vector<int64_t> offsets = {0};
  for (const LossResult::OfDatum& datum : result.data) {
    values.insert(values.end(), (datum.*member).begin(), (datum.*member).end());
    offsets.push_back(static_cast<int64_t>(values.size() * sizeof(float)));
  }
  WireWriter out;
  out.array(1, std::span<const float>(values));
  out.array(2, std::span<const int64_t>(offsets));
  out.varint(3, kFloat32);
  return out.str();
}

void write_entry(WireWriter& to, uint32_t field, const std::string& key, std::string_view value) {
  WireWriter entry;
  entry.bytes(1, key);
  entry.bytes(2, value);
  to.bytes(field, entry.str());
}

std::string protobuf_of(const LossResult& result) {
  WireWriter record;
  record.bytes(1, kOutputType);
  write_entry(record, 2, "logprobs", batched(result, &LossResult::OfDatum::logprobs));
  write_entry(record, 2, "elementwise_loss", batched(result, &LossResult::OfDatum::losses));
  record.varint(3, result.data.size());
  WireWriter out;
  out.bytes(1, kOutputType);
  out.bytes(2, record.str());
  for (const auto& [name, value] : result.metrics) {
    WireWriter entry;
    entry.bytes(1, name);
    entry.real(2, value);
    out.bytes(3, entry.str());
  }
  return out.str();
}

std::string protobuf_of(const SampleResult& result) {
  constexpr uint64_t kStop = 0, kLength = 1;
  WireWriter out;
  for (const SampleResult::Sequence& sequence : result.sequences) {
    WireWriter one;
    one.varint(1, sequence.stopped ? kStop : kLength);
    one.array(2, std::span<const TokenId>(sequence.tokens));
    one.array(3, std::span<const float>(sequence.logprobs));
    out.bytes(1, one.str());
  }
  if (!result.prompt_logprobs.empty()) out.array(2, std::span<const float>(result.prompt_logprobs));
  return out.str();
}

Json tensor(const std::vector<float>& values) {
  return {{"data", values}, {"dtype", "float32"}, {"shape", {values.size()}}};
}

Json json_of(const LossResult& result) {
  Json outputs = Json::array();
  for (const LossResult::OfDatum& datum : result.data) {
    outputs.push_back(
        {{"logprobs", tensor(datum.logprobs)}, {"elementwise_loss", tensor(datum.losses)}});
  }
  Json metrics = Json::object();
  for (const auto& [name, value] : result.metrics) metrics[name] = value;
  return {{"loss_fn_output_type", kOutputType},
          {"loss_fn_outputs", std::move(outputs)},
          {"metrics", std::move(metrics)}};
}

Json json_of(const SampleResult& result) {
  Json sequences = Json::array();
  for (const SampleResult::Sequence& sequence : result.sequences) {
    sequences.push_back({{"stop_reason", sequence.stopped ? "stop" : "length"},
                         {"tokens", sequence.tokens},
                         {"logprobs", sequence.logprobs}});
  }
  Json out = {{"type", "sample"}, {"sequences", std::move(sequences)}};
  if (result.prompt_logprobs.empty()) return out;
  Json logprobs = Json::array();
  for (const float value : result.prompt_logprobs)
    logprobs.push_back(std::isnan(value) ? Json() : Json(value));
  out["prompt_logprobs"] = std::move(logprobs);
  return out;
}

}  // namespace

bool has_protobuf(const Result& result) { return !std::holds_alternative<Json>(result); }

std::string to_protobuf(const Result& result) {
  const auto* sample = std::get_if<SampleResult>(&result);
  return sample != nullptr ? protobuf_of(*sample) : protobuf_of(std::get<LossResult>(result));
}

std::string to_json(const Result& result) {
  Json out;
  if (const auto* json = std::get_if<Json>(&result)) out = *json;
  if (const auto* loss = std::get_if<LossResult>(&result)) out = json_of(*loss);
  if (const auto* sample = std::get_if<SampleResult>(&result)) out = json_of(*sample);
  return out.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace zeroth::tinker
