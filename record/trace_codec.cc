#include "record/trace_codec.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "core/error.h"
#include "core/json_text.h"

namespace zeroth {
namespace {

// Appends `values` plane by plane: all lowest bytes, then all second bytes, and so on.
template <class T>
void append_planes(std::string& out, const std::vector<T>& values, size_t planes = sizeof(T)) {
  const size_t start = out.size();
  out.resize(start + planes * values.size());
  for (size_t plane = 0; plane < planes; ++plane) {
    char* to = out.data() + start + plane * values.size();
    for (size_t i = 0; i < values.size(); ++i) {
      to[i] = reinterpret_cast<const char*>(&values[i])[plane];
    }
  }
}

[[noreturn]] void malformed(const std::string& what) { fail("malformed trace record: " + what); }

// A cursor over a payload; every read is bounded by what is there.
class Cursor {
 public:
  explicit Cursor(std::string_view bytes) : bytes_(bytes) {}

  std::string_view take(uint64_t size, const char* what) {
    if (size > bytes_.size()) malformed(std::string(what) + " runs past the end");
    const std::string_view part = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return part;
  }
  uint32_t u32(const char* what) {
    uint32_t value;
    std::memcpy(&value, take(4, what).data(), 4);
    return value;
  }
  template <class T>
  std::vector<T> planes(uint64_t count, const char* what, size_t planes = sizeof(T)) {
    if (count > bytes_.size()) malformed(std::string(what) + " runs past the end");
    const std::string_view part = take(count * planes, what);
    std::vector<T> values(count);
    for (size_t plane = 0; plane < planes; ++plane) {
      const char* from = part.data() + plane * count;
      for (size_t i = 0; i < count; ++i) reinterpret_cast<char*>(&values[i])[plane] = from[i];
    }
    return values;
  }
  Json head() { return parse_json(take(u32("head"), "head"), "trace record", kStoredJson); }
  bool done() const { return bytes_.empty(); }

 private:
  std::string_view bytes_;
};

void append_u32(std::string& out, size_t value) {
  const auto narrow = static_cast<uint32_t>(value);
  out.append(reinterpret_cast<const char*>(&narrow), 4);
}

// IEEE 754 binary16, rounded to nearest even; entropies are non-negative and small, so overflow
// saturates.
uint16_t to_half(float value) {
  if (!(value > 0)) return std::isnan(value) ? 0x7e00 : 0;
  if (value >= 65504.0f) return 0x7bff;
  if (value < 6.103515625e-05f) {  // subnormal: multiples of 2^-24
    return static_cast<uint16_t>(std::nearbyint(std::ldexp(value, 24)));
  }
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = bits + 0xfff + ((bits >> 13) & 1);
  return static_cast<uint16_t>((rounded >> 13) - ((127 - 15) << 10));
}

float from_half(uint16_t half) {
  const int exponent = (half >> 10) & 0x1f;
  const int mantissa = half & 0x3ff;
  float value;
  if (exponent == 31) {
    value = mantissa ? std::nanf("") : INFINITY;
  } else if (exponent == 0) {
    value = std::ldexp(static_cast<float>(mantissa), -24);
  } else {
    value = std::ldexp(static_cast<float>(mantissa | 0x400), exponent - 25);
  }
  return half & 0x8000 ? -value : value;
}

// JSON cannot hold NaN and the infinities; a broken reward must still be storable.
Json number(double value) {
  if (std::isfinite(value)) return value;
  return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

double as_number(const Json& json) {
  if (json.is_number()) return json.get<double>();
  const auto text = json.get<std::string>();
  return text == "inf" ? INFINITY : text == "-inf" ? -INFINITY : NAN;
}

// Model text may be any bytes, JSON strings must be UTF-8: text is then stored after the planes, as
// it is.
// Stops once there are `wanted` bytes.
std::string bytes_of(const std::vector<TokenId>& tokens, const Vocabulary& vocabulary,
                     uint64_t wanted) {
  std::string bytes;
  for (const TokenId id : tokens) {
    if (bytes.size() >= wanted) break;
    if (id >= 0 && static_cast<size_t>(id) < vocabulary.size()) bytes += vocabulary[id];
  }
  return bytes;
}

// Text that tokens give is not in the record, so only these bounds keep a vocabulary of huge tokens
// from making a small record a huge text. Tokens of real vocabularies have 4 bytes in the mean and
// 128 at most, but for a few.
constexpr uint64_t kMaxDerivedText = 256u << 20;  // of a group
constexpr size_t kMaxTokenBytes = 64 << 10;
constexpr size_t kMaxVocabulary = size_t{1} << 22;
uint64_t most_text(size_t tokens) { return kMaxTokenBytes + 256 * uint64_t{tokens}; }

// A whole number of JSON that fits T; anything else is malformed.
template <class T>
T whole(const Json& json, const char* what) {
  if (json.is_number_unsigned()) {
    const auto value = json.get<uint64_t>();
    if (value <= static_cast<uint64_t>(std::numeric_limits<T>::max())) return static_cast<T>(value);
  } else if (json.is_number_integer() && std::is_signed_v<T>) {
    const auto value = json.get<int64_t>();
    if (value >= static_cast<int64_t>(std::numeric_limits<T>::min()) &&
        value <= static_cast<int64_t>(std::numeric_limits<T>::max()))
      return static_cast<T>(value);
  }
  malformed(std::string(what) + " is out of range");
}

// Replaces what is not UTF-8, for the strings of the JSON head.
std::string printable_json(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json verdict_json(const Verdict& verdict) {
  return Json::array({verdict.name, number(verdict.score), number(verdict.weight),
                      static_cast<int>(verdict.reason), verdict.extracted, verdict.info});
}

Verdict verdict_of(const Json& json) {
  Verdict verdict;
  verdict.name = json.at(0).get<std::string>();
  verdict.score = as_number(json.at(1));
  verdict.weight = as_number(json.at(2));
  const auto reason = whole<uint32_t>(json.at(3), "a reason code");
  if (reason > static_cast<uint32_t>(Reason::kNotApplicable)) malformed("unknown reason code");
  verdict.reason = static_cast<Reason>(reason);
  verdict.extracted = json.at(4).get<std::string>();
  verdict.info = json.at(5);
  return verdict;
}

// Where a sample's text comes from: a length is a prefix of the tokens' bytes, -length is bytes
// stored in the record.
struct StoredText {
  int64_t mark = 0;
  std::string_view bytes;
};

// Ids whose bytes the text may be.
std::vector<TokenId> text_ids(const Sample& sample) {
  return sample.turns.empty() ? sample.tokens : drawn_ids(sample);
}

// `left`: bytes that may still be derived in this group.
StoredText stored_text(const Sample& sample, const Vocabulary& vocabulary, uint64_t& left) {
  const size_t bytes = sample.text.size();
  const auto size = static_cast<int64_t>(bytes);
  if (bytes > std::min(left, most_text(sample.tokens.size()))) return {-size, sample.text};
  const std::string derived = bytes_of(text_ids(sample), vocabulary, bytes);
  if (derived.compare(0, bytes, sample.text) != 0) return {-size, sample.text};
  left -= bytes;
  return {size, {}};
}

Json sample_json(const Sample& sample, const StoredText& text, const StreamKey& first,
                 size_t index) {
  Json verdicts = Json::array();
  for (const Verdict& verdict : sample.verdicts) verdicts.push_back(verdict_json(verdict));
  Json json = {{"n", sample.tokens.size()},
               {"t", text.mark},
               {"f", static_cast<int>(sample.finish)},
               {"r", number(sample.reward)},
               {"a", number(sample.advantage)},
               {"v", verdicts}};
  StreamKey expected = first;
  expected.sample += static_cast<uint32_t>(index);
  if (sample.key != expected) {
    json["k"] = {sample.key.seed, sample.key.step, sample.key.problem, sample.key.sample};
  }
  if (sample.masked) json["m"] = 1;
  for (const Turn& turn : sample.turns) {
    json["u"].push_back(
        {turn.end, turn.next, turn.text_end, number(turn.reward), turn.observation});
  }
  return json;
}

// [[first token, version], ..]
Json segments_json(const std::vector<VersionSegment>& versions) {
  Json out = Json::array();
  for (const VersionSegment& segment : versions) out.push_back({segment.first, segment.version});
  return out;
}

}  // namespace

uint16_t group_version(const Group& group) {
  const auto turned = [](const Sample& sample) { return !sample.turns.empty(); };
  if (std::any_of(group.samples.begin(), group.samples.end(), turned)) return 3;
  const auto scored = [](const Sample& sample) { return !sample.router_confidence.empty(); };
  return std::any_of(group.samples.begin(), group.samples.end(), scored) ? 2 : 1;
}

std::string encode_group(const Group& group, const Vocabulary& vocabulary) {
  const std::vector<Sample>& samples = group.samples;
  const StreamKey first = samples.empty() ? StreamKey{} : samples[0].key;
  const WeightsVersion version = samples.empty() ? 0 : first_version(samples[0]);
  std::vector<TokenId> ids(group.prompt_tokens);
  std::vector<float> logprobs;
  std::vector<uint16_t> entropies;
  std::vector<uint8_t> experts, router_confidence;
  std::vector<int32_t> kept;
  std::string texts;
  Json sample_list = Json::array();
  uint64_t derived_left = kMaxDerivedText;
  for (size_t i = 0; i < samples.size(); ++i) {
    const Sample& sample = samples[i];
    const StoredText text = stored_text(sample, vocabulary, derived_left);
    texts += text.bytes;
    Json json = sample_json(sample, text, first, i);
    if (first_version(sample) != version) json["w"] = first_version(sample);
    if (sample.versions.size() > 1) json["ws"] = segments_json(sample.versions);
    // Absent arrays stay absent: their lengths say so.
    if (sample.logprobs.size() != sample.tokens.size()) json["nl"] = sample.logprobs.size();
    if (sample.entropies.size() != sample.tokens.size()) json["ne"] = sample.entropies.size();
    if (!sample.experts.empty()) json["nx"] = sample.experts.size();
    if (!sample.router_confidence.empty()) json["nr"] = sample.router_confidence.size();
    if (!sample.kept_offsets.empty()) {
      json["nk"] = {sample.kept_ids.size(), sample.kept_offsets.size()};
      kept.insert(kept.end(), sample.kept_ids.begin(), sample.kept_ids.end());
      kept.insert(kept.end(), sample.kept_offsets.begin(), sample.kept_offsets.end());
    }
    sample_list.push_back(std::move(json));
    ids.insert(ids.end(), sample.tokens.begin(), sample.tokens.end());
    logprobs.insert(logprobs.end(), sample.logprobs.begin(), sample.logprobs.end());
    for (const float entropy : sample.entropies) entropies.push_back(to_half(entropy));
    experts.insert(experts.end(), sample.experts.begin(), sample.experts.end());
    router_confidence.insert(router_confidence.end(), sample.router_confidence.begin(),
                             sample.router_confidence.end());
  }
  const Json head = {{"task", group.problem.task},
                     {"id", group.problem.id},
                     {"prompt", group.problem.prompt},
                     {"answer", group.problem.answer},
                     {"meta", group.problem.meta},
                     {"zero", group.zero_variance},
                     {"np", group.prompt_tokens.size()},
                     {"version", version},
                     {"key", {first.seed, first.step, first.problem, first.sample}},
                     {"samples", std::move(sample_list)}};
  const std::string head_text = printable_json(head);
  std::string out;
  append_u32(out, head_text.size());
  out += head_text;
  append_planes(out, ids);
  append_planes(out, logprobs);
  append_planes(out, entropies);
  append_planes(out, kept);
  out.append(reinterpret_cast<const char*>(experts.data()), experts.size());
  out.append(reinterpret_cast<const char*>(router_confidence.data()), router_confidence.size());
  out += texts;
  return out;
}

namespace {

// Lengths of one sample's arrays, read before the arrays themselves.
struct Extent {
  uint64_t tokens = 0, logprobs = 0, entropies = 0, experts = 0, router_confidence = 0;
  uint64_t kept_ids = 0, kept_offsets = 0;
  int64_t text = 0;
};

uint64_t length_field(const Json& json, const char* key, uint64_t otherwise, uint64_t limit) {
  const auto found = json.find(key);
  const uint64_t value = found == json.end() ? otherwise : whole<uint64_t>(*found, key);
  if (value > limit) malformed(std::string("length ") + key + " is out of range");
  return value;
}

StreamKey key_of(const Json& json) {
  return {whole<uint64_t>(json.at(0), "a key"), whole<uint32_t>(json.at(1), "a key"),
          whole<uint32_t>(json.at(2), "a key"), whole<uint32_t>(json.at(3), "a key")};
}

Extent extent_of(const Json& json, uint64_t limit) {
  Extent extent;
  extent.tokens = length_field(json, "n", 0, limit);
  extent.logprobs = length_field(json, "nl", extent.tokens, limit);
  extent.entropies = length_field(json, "ne", extent.tokens, limit);
  extent.experts = length_field(json, "nx", 0, limit);
  extent.router_confidence = length_field(json, "nr", 0, limit);
  if (const auto kept = json.find("nk"); kept != json.end()) {
    extent.kept_ids = whole<uint64_t>(kept->at(0), "nk");
    extent.kept_offsets = whole<uint64_t>(kept->at(1), "nk");
    if (extent.kept_ids > limit || extent.kept_offsets > limit) malformed("kept set out of range");
  }
  extent.text = whole<int64_t>(json.at("t"), "t");
  return extent;
}

// First tokens ascend from 0 to below the number of tokens.
std::vector<VersionSegment> segments_of(const Json& json, uint64_t tokens) {
  std::vector<VersionSegment> out;
  for (const Json& segment : json) {
    const auto first = whole<int32_t>(segment.at(0), "a segment of weights");
    const bool later = !out.empty() && first > out.back().first;
    if (out.empty() ? first != 0 : !later || static_cast<uint64_t>(first) >= tokens)
      malformed("weights versions of a sample");
    out.push_back({first, whole<WeightsVersion>(segment.at(1), "a segment of weights")});
  }
  if (out.empty()) malformed("weights versions of a sample");
  return out;
}

// Ends ascend, the last one is the end of the tokens.
std::vector<Turn> turns_of(const Json& json, uint64_t tokens) {
  std::vector<Turn> out;
  for (const Json& turn : json) {
    Turn next{whole<int32_t>(turn.at(0), "a turn"), whole<int32_t>(turn.at(1), "a turn"),
              whole<int64_t>(turn.at(2), "a turn"), as_number(turn.at(3)),
              turn.at(4).get<std::string>()};
    const bool first = out.empty();
    if (next.end < (first ? 0 : out.back().next) || next.next < next.end ||
        static_cast<uint64_t>(next.next) > tokens ||
        next.text_end < (first ? 0 : out.back().text_end))
      malformed("the turns of a sample");
    out.push_back(std::move(next));
  }
  if (!out.empty() &&
      (out.back().next != out.back().end || static_cast<uint64_t>(out.back().end) != tokens))
    malformed("the turns of a sample");
  return out;
}

Sample sample_of(const Json& json, const StreamKey& first, size_t index, WeightsVersion version,
                 uint64_t tokens) {
  Sample sample;
  sample.key = first;
  sample.key.sample += static_cast<uint32_t>(index);
  if (const auto key = json.find("k"); key != json.end()) sample.key = key_of(*key);
  const auto own_version = json.find("w");
  sample.versions = {
      {0, own_version == json.end() ? version : whole<WeightsVersion>(*own_version, "w")}};
  if (const auto list = json.find("ws"); list != json.end()) {
    sample.versions = segments_of(*list, tokens);
  }
  const auto finish = whole<uint32_t>(json.at("f"), "a finish reason");
  if (finish > static_cast<uint32_t>(FinishReason::kAborted)) malformed("finish reason");
  sample.finish = static_cast<FinishReason>(finish);
  sample.reward = as_number(json.at("r"));
  sample.advantage = as_number(json.at("a"));
  sample.masked = json.contains("m");
  if (const auto turns = json.find("u"); turns != json.end()) {
    sample.turns = turns_of(*turns, tokens);
  }
  for (const Json& verdict : json.at("v")) sample.verdicts.push_back(verdict_of(verdict));
  return sample;
}

void check_turns(const Sample& sample) {
  if (sample.turns.empty()) return;
  if (sample.turns.back().text_end > static_cast<int64_t>(sample.text.size()))
    malformed("the turns of a sample");
}

// Splits the concatenated arrays of a group back onto its samples.
void read_arrays(Cursor& cursor, uint64_t prompt_tokens, const std::vector<Extent>& extents,
                 const Vocabulary& vocabulary, Group& group) {
  Extent total;
  total.tokens = prompt_tokens;
  for (const Extent& extent : extents) {
    total.tokens += extent.tokens;
    total.logprobs += extent.logprobs;
    total.entropies += extent.entropies;
    total.kept_ids += extent.kept_ids + extent.kept_offsets;
  }
  const auto ids = cursor.planes<TokenId>(total.tokens, "token ids");
  const auto logprobs = cursor.planes<float>(total.logprobs, "log-probs");
  const auto entropies = cursor.planes<uint16_t>(total.entropies, "entropies");
  const auto kept = cursor.planes<int32_t>(total.kept_ids, "kept sets");
  auto id = ids.begin();
  auto logprob = logprobs.begin();
  auto entropy = entropies.begin();
  auto kept_at = kept.begin();
  group.prompt_tokens.assign(id, id + static_cast<int64_t>(prompt_tokens));
  id += static_cast<int64_t>(prompt_tokens);
  const auto slice = [](auto& at, uint64_t count, auto& into) {
    into.assign(at, at + static_cast<int64_t>(count));
    at += static_cast<int64_t>(count);
  };
  for (size_t i = 0; i < extents.size(); ++i) {
    Sample& sample = group.samples[i];
    slice(id, extents[i].tokens, sample.tokens);
    slice(logprob, extents[i].logprobs, sample.logprobs);
    for (uint64_t k = 0; k < extents[i].entropies; ++k) {
      sample.entropies.push_back(from_half(*entropy++));
    }
    slice(kept_at, extents[i].kept_ids, sample.kept_ids);
    slice(kept_at, extents[i].kept_offsets, sample.kept_offsets);
    const std::string_view experts = cursor.take(extents[i].experts, "expert ids");
    sample.experts.assign(experts.begin(), experts.end());
  }
  for (size_t i = 0; i < extents.size(); ++i) {
    const std::string_view scores = cursor.take(extents[i].router_confidence, "router confidences");
    group.samples[i].router_confidence.assign(scores.begin(), scores.end());
  }
  uint64_t derived = 0;
  for (size_t i = 0; i < extents.size(); ++i) {
    Sample& sample = group.samples[i];
    const int64_t mark = extents[i].text;
    if (mark < 0) {
      sample.text = cursor.take(uint64_t{0} - static_cast<uint64_t>(mark), "text");
      check_turns(sample);
      continue;
    }
    const auto size = static_cast<uint64_t>(mark);
    derived += size;
    if (size > most_text(sample.tokens.size()) || derived > kMaxDerivedText)
      malformed("text is longer than its tokens");
    sample.text = bytes_of(text_ids(sample), vocabulary, size);
    if (size > sample.text.size()) malformed("text is longer than its tokens");
    sample.text.resize(size);
    check_turns(sample);
  }
}

}  // namespace

Group decode_group(std::string_view payload, const Vocabulary& vocabulary) {
  Cursor cursor(payload);
  Group group;
  try {
    const Json head = cursor.head();
    group.problem.task = head.at("task").get<std::string>();
    group.problem.id = head.at("id").get<std::string>();
    group.problem.prompt = head.at("prompt").get<std::string>();
    group.problem.answer = head.at("answer").get<std::string>();
    group.problem.meta = head.at("meta");
    group.zero_variance = head.at("zero").get<bool>();
    const StreamKey first = key_of(head.at("key"));
    const auto version = whole<WeightsVersion>(head.at("version"), "version");
    const uint64_t prompt_tokens = length_field(head, "np", 0, payload.size());
    std::vector<Extent> extents;
    for (const Json& json : head.at("samples")) {
      extents.push_back(extent_of(json, payload.size()));
      group.samples.push_back(
          sample_of(json, first, group.samples.size(), version, extents.back().tokens));
    }
    read_arrays(cursor, prompt_tokens, extents, vocabulary, group);
  } catch (const Json::exception& error) {
    malformed(error.what());
  }
  if (!cursor.done()) malformed("bytes after the end");
  return group;
}

std::string encode_annotation(const std::string& name,
                              const std::vector<std::vector<float>>& values) {
  Json counts = Json::array();
  std::vector<float> flat;
  for (const auto& row : values) {
    counts.push_back(row.size());
    flat.insert(flat.end(), row.begin(), row.end());
  }
  const std::string head = Json({{"name", name}, {"n", counts}}).dump();
  std::string out;
  append_u32(out, head.size());
  out += head;
  append_planes(out, flat);
  return out;
}

void decode_annotation(std::string_view payload, Annotations& into) {
  Cursor cursor(payload);
  try {
    const Json head = cursor.head();
    std::vector<uint64_t> counts;
    uint64_t total = 0;
    for (const Json& json : head.at("n")) {
      const auto count = whole<uint64_t>(json, "annotation length");
      if (count > payload.size()) malformed("annotation length");
      counts.push_back(count);
      total += count;
    }
    const auto flat = cursor.planes<float>(total, "annotation");
    std::vector<std::vector<float>> values;
    auto at = flat.begin();
    for (const uint64_t count : counts) {
      values.emplace_back(at, at + static_cast<int64_t>(count));
      at += static_cast<int64_t>(count);
    }
    into[head.at("name").get<std::string>()] = std::move(values);
  } catch (const Json::exception& error) {
    malformed(error.what());
  }
}

std::string encode_vocabulary(const Vocabulary& vocabulary) {
  std::string out;
  append_u32(out, vocabulary.size());
  for (const std::string& token : vocabulary) append_u32(out, token.size());
  for (const std::string& token : vocabulary) out += token;
  return out;
}

Vocabulary decode_vocabulary(std::string_view payload) {
  Cursor cursor(payload);
  const uint32_t count = cursor.u32("vocabulary");
  if (count > payload.size() / 4 || count > kMaxVocabulary) malformed("vocabulary size");
  std::vector<uint32_t> sizes(count);
  for (uint32_t& size : sizes) {
    size = cursor.u32("token length");
    if (size > kMaxTokenBytes) malformed("token length");
  }
  Vocabulary vocabulary;
  vocabulary.reserve(count);
  for (const uint32_t size : sizes) vocabulary.emplace_back(cursor.take(size, "token"));
  return vocabulary;
}

}  // namespace zeroth
