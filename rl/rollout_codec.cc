#include "rl/rollout_codec.h"

#include <cstring>

#include "core/error.h"
#include "core/message_pack.h"

namespace zeroth {
namespace {

template <class T>
Json plane(const std::vector<T>& values) {
  std::vector<uint8_t> bytes(values.size() * sizeof(T));
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return Json::binary(std::move(bytes));
}

template <class T>
std::vector<T> values_of(const Json& json) {
  const auto& bytes = json.get_binary();
  std::vector<T> values(bytes.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
  return values;
}

Json pack_verdict(const Verdict& v) {
  return {v.name, v.score, v.weight, static_cast<int>(v.reason), v.extracted, v.info};
}

Verdict unpack_verdict(const Json& v) {
  return {v.at(0).get<std::string>(), v.at(1).get<double>(),
          v.at(2).get<double>(),      static_cast<Reason>(v.at(3).get<int>()),
          v.at(4).get<std::string>(), v.at(5)};
}

Json pack_sample(const Sample& sample) {
  Json verdicts = Json::array(), versions = Json::array(), turns = Json::array();
  for (const Turn& turn : sample.turns)
    turns.push_back({turn.end, turn.next, turn.text_end, turn.reward, turn.observation});
  for (const Verdict& v : sample.verdicts) verdicts.push_back(pack_verdict(v));
  for (const VersionSegment& segment : sample.versions)
    versions.push_back({segment.first, segment.version});
  return {{"key", {sample.key.seed, sample.key.step, sample.key.problem, sample.key.sample}},
          {"tokens", plane(sample.tokens)},
          {"logprobs", plane(sample.logprobs)},
          {"entropies", plane(sample.entropies)},
          {"kept_ids", plane(sample.kept_ids)},
          {"kept_offsets", plane(sample.kept_offsets)},
          {"experts", plane(sample.experts)},
          {"prompt_experts", plane(sample.prompt_experts)},
          {"confidence", plane(sample.router_confidence)},
          {"versions", std::move(versions)},
          {"turns", std::move(turns)},
          {"finish", static_cast<int>(sample.finish)},
          {"text", sample.text},
          {"verdicts", std::move(verdicts)},
          {"reward", sample.reward},
          {"masked", sample.masked},
          {"advantage", sample.advantage}};
}

Sample unpack_sample(const Json& json) {
  Sample sample;
  const Json& key = json.at("key");
  sample.key = {key.at(0).get<uint64_t>(), key.at(1).get<uint32_t>(), key.at(2).get<uint32_t>(),
                key.at(3).get<uint32_t>()};
  sample.tokens = values_of<TokenId>(json.at("tokens"));
  sample.logprobs = values_of<float>(json.at("logprobs"));
  sample.entropies = values_of<float>(json.at("entropies"));
  sample.kept_ids = values_of<int32_t>(json.at("kept_ids"));
  sample.kept_offsets = values_of<int32_t>(json.at("kept_offsets"));
  sample.experts = values_of<uint8_t>(json.at("experts"));
  // Rollouts of earlier builds have none.
  if (json.contains("prompt_experts"))
    sample.prompt_experts = values_of<uint8_t>(json.at("prompt_experts"));
  sample.router_confidence = values_of<uint8_t>(json.at("confidence"));
  for (const Json& segment : json.at("versions"))
    sample.versions.push_back({segment.at(0).get<int32_t>(), segment.at(1).get<WeightsVersion>()});
  // Rollouts of earlier builds have none.
  for (const Json& turn : json.value("turns", Json::array())) {
    sample.turns.push_back({turn.at(0).get<int32_t>(), turn.at(1).get<int32_t>(),
                            turn.at(2).get<int64_t>(), turn.at(3).get<double>(),
                            turn.at(4).get<std::string>()});
  }
  sample.finish = static_cast<FinishReason>(json.at("finish").get<int>());
  sample.text = json.at("text").get<std::string>();
  for (const Json& v : json.at("verdicts")) sample.verdicts.push_back(unpack_verdict(v));
  sample.reward = json.at("reward").get<double>();
  sample.masked = json.at("masked").get<bool>();
  sample.advantage = json.at("advantage").get<double>();
  return sample;
}

Json pack_group(const Group& group) {
  Json samples = Json::array();
  for (const Sample& sample : group.samples) samples.push_back(pack_sample(sample));
  const Problem& problem = group.problem;
  return {{"problem", {problem.task, problem.id, problem.prompt, problem.answer, problem.meta}},
          {"prompt", plane(group.prompt_tokens)},
          {"samples", std::move(samples)},
          {"zero", group.zero_variance}};
}

Group unpack_group(const Json& json) {
  Group group;
  const Json& problem = json.at("problem");
  group.problem = {problem.at(0).get<std::string>(), problem.at(1).get<std::string>(),
                   problem.at(2).get<std::string>(), problem.at(3).get<std::string>(),
                   problem.at(4)};
  group.prompt_tokens = values_of<TokenId>(json.at("prompt"));
  for (const Json& sample : json.at("samples")) group.samples.push_back(unpack_sample(sample));
  group.zero_variance = json.at("zero").get<bool>();
  return group;
}

Json pack_groups(const std::vector<Group>& groups) {
  Json out = Json::array();
  for (const Group& group : groups) out.push_back(pack_group(group));
  return out;
}

std::vector<Group> unpack_groups(const Json& json) {
  std::vector<Group> out;
  for (const Json& group : json) out.push_back(unpack_group(group));
  return out;
}

Json pack_rollout(const Rollout& rollout) {
  return {{"groups", pack_groups(rollout.groups)},
          {"discarded", pack_groups(rollout.discarded)},
          {"set_aside", rollout.set_aside},
          {"rounds", rollout.rounds},
          {"prompt_tokens", rollout.prompt_tokens},
          {"sampled_tokens", rollout.sampled_tokens},
          {"skipped_prompts", rollout.skipped_prompts},
          {"level", rollout.level},
          {"draws", rollout.draws}};
}

Rollout unpack_rollout(const Json& json) {
  Rollout rollout;
  rollout.groups = unpack_groups(json.at("groups"));
  rollout.discarded = unpack_groups(json.at("discarded"));
  rollout.set_aside = json.value("set_aside", 0);  // earlier builds have none
  rollout.rounds = json.at("rounds").get<int>();
  rollout.prompt_tokens = json.at("prompt_tokens").get<int64_t>();
  rollout.sampled_tokens = json.at("sampled_tokens").get<int64_t>();
  rollout.skipped_prompts = json.at("skipped_prompts").get<int64_t>();
  rollout.level = json.at("level").get<int>();
  rollout.draws = json.at("draws").get<int64_t>();
  rollout.tickets.resize(rollout.groups.size());
  for (size_t g = 0; g < rollout.groups.size(); ++g)
    rollout.tickets[g].resize(rollout.groups[g].samples.size());
  return rollout;
}

// It is this program's own file, checked by its hash, and may be long; a problem's data are as deep
// as JSON may be.
constexpr MessageLimits kLimits = {
    .depth = 256, .values = int64_t{1} << 40, .members = int64_t{1} << 20};

}  // namespace

std::string pack_rollouts(const std::map<int64_t, Rollout>& rollouts) {
  Json out = Json::array();
  for (const auto& [step, rollout] : rollouts)
    out.push_back({{"step", step}, {"rollout", pack_rollout(rollout)}});
  return pack_message(out);
}

namespace {

// Lists of lists, each element by `pack`.
template <class T, class Pack>
std::string pack_lists(std::span<const std::vector<T>> lists, const Pack& pack) {
  Json out = Json::array();
  for (const std::vector<T>& list : lists) {
    Json& to = out.emplace_back(Json::array());
    for (const T& one : list) to.push_back(pack(one));
  }
  return pack_message(out);
}

template <class T, class Unpack>
std::vector<std::vector<T>> unpack_lists(const std::string& bytes, const std::string& source,
                                         const Unpack& unpack) {
  std::vector<std::vector<T>> out;
  try {
    for (const Json& list : parse_message(bytes, source, kLimits)) {
      std::vector<T>& to = out.emplace_back();
      for (const Json& one : list) to.push_back(unpack(one));
    }
  } catch (const nlohmann::json::exception& error) {
    fail(source + ": " + error.what(), "start all ranks with one binary");
  }
  return out;
}

}  // namespace

std::string pack_samples(std::span<const std::vector<Sample>> samples) {
  return pack_lists(samples, pack_sample);
}

std::vector<std::vector<Sample>> unpack_samples(const std::string& bytes,
                                                const std::string& source) {
  return unpack_lists<Sample>(bytes, source, unpack_sample);
}

std::string pack_verdicts(std::span<const std::vector<Verdict>> verdicts) {
  return pack_lists(verdicts, pack_verdict);
}

std::vector<std::vector<Verdict>> unpack_verdicts(const std::string& bytes,
                                                  const std::string& source) {
  return unpack_lists<Verdict>(bytes, source, unpack_verdict);
}

std::map<int64_t, Rollout> unpack_rollouts(const std::string& bytes, const std::string& source) {
  std::map<int64_t, Rollout> out;
  try {
    for (const Json& one : parse_message(bytes, source, kLimits))
      out[one.at("step").get<int64_t>()] = unpack_rollout(one.at("rollout"));
  } catch (const nlohmann::json::exception& error) {
    fail(source + ": " + error.what(), "resume with the build that wrote the run");
  }
  return out;
}

}  // namespace zeroth
