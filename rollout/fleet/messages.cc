#include "rollout/fleet/messages.h"

#include "core/config.h"
#include "core/json_text.h"
#include "core/message_pack.h"
#include "core/sha256.h"
#include "rollout/fleet/fields.h"

namespace zeroth::fleet {
namespace {

constexpr size_t kName = 256, kId = 128;
constexpr uint64_t kMaxFile = uint64_t{64} << 20;  // of a tokenizer

const char* name_of(kernels::Element element) {
  return element == kernels::Element::kBfloat16 ? "bfloat16" : "float32";
}

kernels::Element element_from(const Json& json) {
  const std::string name = text_field(json, "published", kName);
  for (const auto element : {kernels::Element::kFloat32, kernels::Element::kBfloat16})
    if (name == name_of(element)) return element;
  fail_usage("field \"published\" is neither float32 nor bfloat16",
             "use the build of the run for its workers");
}

Json identity_json(const Identity& identity) {
  return {{"contract", identity.contract},
          {"config", identity.config},
          {"tokenizer", identity.tokenizer}};
}

Identity identity_from(const Json& json) {
  return {text_field(json, "contract", kId), text_field(json, "config", kId),
          text_field(json, "tokenizer", kId)};
}

bool is_file_name(const std::string& name) {
  return !name.empty() && name.size() <= kName && name[0] != '.' &&
         name.find_first_of("/\\\n") == std::string::npos && name.find('\0') == std::string::npos;
}

Json sample_json(const Sample& sample) {
  Json out = {{"tokens", packed(sample.tokens)},
              {"logprobs", packed(sample.logprobs)},
              {"entropies", packed(sample.entropies)}};
  if (!sample.kept_offsets.empty()) {
    out["kept_ids"] = packed(sample.kept_ids);
    out["kept_offsets"] = packed(sample.kept_offsets);
  }
  if (!sample.experts.empty()) {
    out["experts"] = packed(sample.experts);
    out["prompt_experts"] = packed(sample.prompt_experts);
    out["router_confidence"] = packed(sample.router_confidence);
  }
  return out;
}

Sample sample_from(const Json& json) {
  Sample sample;
  sample.tokens = unpacked<TokenId>(json, "tokens", kMaxTokens);
  sample.logprobs = unpacked<float>(json, "logprobs", kMaxTokens);
  sample.entropies = unpacked<float>(json, "entropies", kMaxTokens);
  if (json.contains("kept_offsets")) {
    sample.kept_offsets = unpacked<int32_t>(json, "kept_offsets", kMaxTokens + 1);
    sample.kept_ids = unpacked<int32_t>(json, "kept_ids", size_t{1} << 28);
  }
  if (json.contains("experts")) {
    sample.experts = unpacked<uint8_t>(json, "experts", size_t{1} << 28);
    sample.prompt_experts = unpacked<uint8_t>(json, "prompt_experts", size_t{1} << 28);
    sample.router_confidence = unpacked<uint8_t>(json, "router_confidence", size_t{1} << 28);
  }
  return sample;
}

// [first, number of the weights, first, number, ..]
std::vector<int32_t> segment_numbers(const Sample& sample) {
  std::vector<int32_t> out;
  for (const VersionSegment& segment : sample.versions) {
    out.push_back(segment.first);
    out.push_back(static_cast<int32_t>(segment.version));
  }
  return out;
}

void read_segments(const Json& json, size_t used, Sample& sample) {
  const auto numbers = unpacked<int32_t>(json, "segments", 2 * kMaxVersions);
  if (numbers.empty() || numbers.size() % 2 != 0)
    fail_usage("field \"segments\" has no whole segments");
  for (size_t i = 0; i < numbers.size(); i += 2) {
    const VersionSegment segment{numbers[i], numbers[i + 1]};
    const VersionSegment* before = i > 0 ? &sample.versions.back() : nullptr;
    const bool fits = before == nullptr
                          ? segment.first == 0
                          : segment.first > before->first && segment.version > before->version;
    if (!fits || segment.version < 0 || segment.version >= static_cast<int64_t>(used) ||
        segment.first >= static_cast<int64_t>(sample.tokens.size()))
      fail_usage("field \"segments\" does not fit its sample");
    sample.versions.push_back(segment);
  }
}

}  // namespace

Json decode_body(const std::string& body, const std::string& type) {
  if (type.rfind(kMessagePackType, 0) == 0) return parse_message(body, "body");
  if (type.rfind(kJsonType, 0) == 0) return parse_json(body, "body", {16, 8'000'000});
  fail_usage("a body of type \"" + type.substr(0, 100) + "\"",
             std::string("send ") + kMessagePackType + " or " + kJsonType);
}

std::string encode_body(const Json& json, const std::string& type) {
  if (type.rfind(kJsonType, 0) == 0)
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
  return pack_message(json);
}

Difference compare(const Identity& ours, const Identity& theirs) {
  if (ours.contract != theirs.contract) return {"contract", ours.contract, theirs.contract};
  if (!theirs.config.empty() && ours.config != theirs.config)
    return {"config", ours.config, theirs.config};
  if (!theirs.tokenizer.empty() && ours.tokenizer != theirs.tokenizer)
    return {"tokenizer", ours.tokenizer, theirs.tokenizer};
  return {};
}

Json Hello::to_json() const {
  Json out = {{"protocol", protocol},
              {"name", name},
              {"isa", isa},
              {"version", version},
              {"threads", threads}};
  out.update(identity_json(identity));
  return out;
}

Hello Hello::from_json(const Json& json) {
  Hello out;
  out.protocol = static_cast<int>(uint_field(json, "protocol", 1 << 20));
  out.identity = identity_from(json);
  out.name = text_field(json, "name", kId);
  out.isa = text_field(json, "isa", kId);
  out.version = text_field(json, "version", kId);
  out.threads = static_cast<int>(uint_field(json, "threads", 1 << 20));
  return out;
}

Json Welcome::to_json() const {
  Json named = Json::array();
  for (const NamedFile& file : files) {
    named.push_back(
        {{"name", file.name}, {"sha256", file.blob.sha256}, {"bytes", file.blob.bytes}});
  }
  Json out = {{"session", session},
              {"model", model},
              {"published", name_of(element)},
              {"record_experts", record_experts},
              {"files", std::move(named)},
              {"lease_s", lease_s},
              {"poll_s", poll_s}};
  out.update(identity_json(identity));
  return out;
}

Welcome Welcome::from_json(const Json& json) {
  Welcome out;
  out.session = text_field(json, "session", kId);
  out.identity = identity_from(json);
  out.model = object_field(json, "model");
  out.element = element_from(json);
  out.record_experts = bool_field(json, "record_experts");
  for (const Json& file : array_field(json, "files", 64)) {
    NamedFile named{text_field(file, "name", kName),
                    {text_field(file, "sha256", 64), uint_field(file, "bytes", kMaxFile)}};
    if (!is_file_name(named.name) || !is_sha256(named.blob.sha256))
      fail_usage("\"" + named.name + "\" is no name of a tokenizer's file");
    out.files.push_back(std::move(named));
  }
  out.lease_s = number_field(json, "lease_s", 0.01, 1e6);
  out.poll_s = number_field(json, "poll_s", 0.01, 1e6);
  return out;
}

std::string hash_of_config(const Json& model, kernels::Element element, bool record_experts) {
  return sha256_hex(
      Json{{"model", model}, {"published", name_of(element)}, {"record_experts", record_experts}}
          .dump());
}

std::string hash_of_files(const std::vector<NamedFile>& files) {
  std::string lines;
  for (const NamedFile& file : files) lines += file.name + " " + file.blob.sha256 + "\n";
  return sha256_hex(lines);
}

Json Lease::to_json() const {
  SamplingConfig sampling = request.sampling;
  return {{"id", id},
          {"weights", weights},
          {"prompt", packed(request.prompt)},
          {"seed", request.seed},
          {"step", request.step},
          {"problem", request.problem},
          {"first_sample", request.first_sample},
          {"samples", request.samples},
          {"expected_tokens", request.expected_tokens},
          {"sampling", dump_config(sampling)},
          {"follow", follow}};
}

Lease Lease::from_json(const Json& json) {
  Lease out;
  out.id = static_cast<int64_t>(uint_field(json, "id", INT64_MAX));
  out.weights = text_field(json, "weights", 64);
  GenerationRequest& request = out.request;
  request.prompt = unpacked<TokenId>(json, "prompt", kMaxTokens);
  request.seed = uint_field(json, "seed", UINT64_MAX);
  request.step = static_cast<uint32_t>(uint_field(json, "step", UINT32_MAX));
  request.problem = static_cast<uint32_t>(uint_field(json, "problem", UINT32_MAX));
  request.first_sample = static_cast<uint32_t>(uint_field(json, "first_sample", UINT32_MAX));
  request.samples = static_cast<int>(uint_field(json, "samples", kMaxSamples));
  request.expected_tokens = number_field(json, "expected_tokens", 0, kMaxTokens);
  load_config(request.sampling, object_field(json, "sampling"), "lease");
  out.follow = bool_field(json, "follow");
  return out;
}

Json LeasesAsked::to_json() const {
  return {{"session", session}, {"capacity", capacity}, {"weights", weights}, {"wait_s", wait_s}};
}

LeasesAsked LeasesAsked::from_json(const Json& json) {
  return {text_field(json, "session", kId),
          static_cast<int64_t>(uint_field(json, "capacity", 1 << 20)),
          text_field(json, "weights", 64), number_field(json, "wait_s", 0, 3600)};
}

Json LeasesGiven::to_json() const {
  Json given = Json::array();
  for (const Lease& lease : leases) given.push_back(lease.to_json());
  return {{"weights", weights}, {"leases", std::move(given)}, {"finished", finished}};
}

LeasesGiven LeasesGiven::from_json(const Json& json) {
  LeasesGiven out;
  out.weights = text_field(json, "weights", 64);
  for (const Json& lease : array_field(json, "leases", 1 << 16))
    out.leases.push_back(Lease::from_json(lease));
  out.finished = bool_field(json, "finished");
  return out;
}

Json Progress::to_json() const {
  Json pairs = Json::array();
  for (const auto& [lease, drawn] : tokens) pairs.push_back({{"lease", lease}, {"tokens", drawn}});
  return {{"session", session}, {"leases", std::move(pairs)}};
}

Progress Progress::from_json(const Json& json) {
  Progress out;
  out.session = text_field(json, "session", kId);
  for (const Json& pair : array_field(json, "leases", 1 << 16)) {
    out.tokens.emplace_back(static_cast<int64_t>(uint_field(pair, "lease", INT64_MAX)),
                            static_cast<int64_t>(uint_field(pair, "tokens", INT64_MAX)));
  }
  return out;
}

Json Result::to_json() const {
  Json list = Json::array();
  for (const Sample& sample : samples) {
    list.push_back(sample_json(sample));
    if (!used.empty()) list.back()["segments"] = packed(segment_numbers(sample));
  }
  Json out = {
      {"lease", lease}, {"session", session}, {"weights", weights}, {"samples", std::move(list)}};
  if (!used.empty()) out["used"] = used;
  if (did.forward_calls > 0) {
    out["did"] = {{"forward_calls", did.forward_calls},
                  {"draft_tokens", did.draft_tokens},
                  {"draft_accepted", did.draft_accepted}};
  }
  return out;
}

Result Result::from_json(const Json& json) {
  Result out;
  out.lease = static_cast<int64_t>(uint_field(json, "lease", INT64_MAX));
  out.session = text_field(json, "session", kId);
  out.weights = text_field(json, "weights", 64);
  if (json.contains("used")) {
    for (const Json& hash : array_field(json, "used", kMaxVersions)) {
      if (!hash.is_string() || !is_sha256(hash.get_ref<const std::string&>()))
        fail_usage("field \"used\" holds something that is no SHA-256");
      out.used.push_back(hash.get<std::string>());
    }
  }
  if (json.contains("did")) {
    constexpr uint64_t kMost = uint64_t{1} << 40;
    const Json& did = json.at("did");
    out.did.forward_calls = static_cast<int64_t>(uint_field(did, "forward_calls", kMost));
    out.did.draft_tokens = static_cast<int64_t>(uint_field(did, "draft_tokens", kMost));
    out.did.draft_accepted = static_cast<int64_t>(uint_field(did, "draft_accepted", kMost));
  }
  for (const Json& sample : array_field(json, "samples", kMaxSamples)) {
    out.samples.push_back(sample_from(sample));
    if (!out.used.empty()) read_segments(sample, out.used.size(), out.samples.back());
  }
  return out;
}

}  // namespace zeroth::fleet
