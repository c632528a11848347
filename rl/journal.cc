#include "rl/journal.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/json.h"
#include "core/sha256.h"

namespace zeroth {
namespace {

constexpr int64_t kMost = int64_t{1} << 53;  // of a number: every reader of JSON keeps it
constexpr size_t kMaxGroups = 1 << 20, kMaxSamples = 1 << 16;
constexpr int64_t kMaxTokens = 1 << 20;
constexpr std::string_view kChainKey = ",\"chain\":\"";
constexpr size_t kDigits = 64;

[[noreturn]] void refuse(const std::string& what) { fail(what); }

int64_t whole(const Json& json, int64_t most, const char* name) {
  if (!json.is_number_integer() || (!json.is_number_unsigned() && json.get<int64_t>() < 0) ||
      json.get<uint64_t>() > static_cast<uint64_t>(most))
    refuse(std::string(name) + " is no whole number from 0 to " + std::to_string(most));
  return json.get<int64_t>();
}

const Json& member(const Json& json, const char* name) {
  const auto found = json.find(name);
  if (found == json.end()) refuse(std::string(name) + " is missing");
  return *found;
}

const Json& list(const Json& json, size_t most, const char* name) {
  if (!json.is_array() || json.size() > most)
    refuse(std::string(name) + " is no list of at most " + std::to_string(most));
  return json;
}

SamplePlan parse_sample(const Json& json, WeightsVersion newest) {
  list(json, 2 * kMaxTokens + 1, "a sample");
  if (json.size() < 3 || json.size() % 2 == 0) refuse("a sample has no whole segments");
  SamplePlan plan;
  plan.tokens = static_cast<int32_t>(whole(json[0], kMaxTokens, "tokens"));
  if (plan.tokens == 0) refuse("a sample has no tokens");
  for (size_t i = 1; i < json.size(); i += 2) {
    const VersionSegment segment{
        static_cast<int32_t>(whole(json[i], plan.tokens - 1, "the first token of a segment")),
        whole(json[i + 1], newest, "the version of a segment")};
    const bool follows = plan.versions.empty() ? segment.first == 0
                                               : segment.first > plan.versions.back().first &&
                                                     segment.version > plan.versions.back().version;
    if (!follows) refuse("the segments of a sample are not in order");
    plan.versions.push_back(segment);
  }
  return plan;
}

JournalGroup parse_group(const Json& json, WeightsVersion newest) {
  if (!json.is_object()) refuse("a group is no object");
  JournalGroup group;
  group.draw = whole(member(json, "draw"), kMost, "draw");
  group.problem = whole(member(json, "problem"), kMost, "problem");
  if (json.contains("skipped")) {
    for (const Json& draw : list(json["skipped"], kMaxGroups, "skipped"))
      group.skipped.push_back(whole(draw, kMost, "skipped"));
  }
  if (json.contains("dropped")) {
    if (!json["dropped"].is_boolean()) refuse("dropped is neither true nor false");
    group.dropped = json["dropped"].get<bool>();
  }
  const Json& digest = member(json, "sha256");
  if (!digest.is_string() || digest.get_ref<const std::string&>().size() != 16)
    refuse("sha256 has no 16 digits");
  group.digest = digest.get<std::string>();
  for (const Json& sample : list(member(json, "samples"), kMaxSamples, "samples"))
    group.samples.push_back(parse_sample(sample, newest));
  return group;
}

Json to_json(const JournalGroup& group) {
  Json json = {{"draw", group.draw}, {"problem", group.problem}};
  if (!group.skipped.empty()) json["skipped"] = group.skipped;
  if (group.dropped) json["dropped"] = true;
  json["sha256"] = group.digest;
  Json samples = Json::array();
  for (const SamplePlan& plan : group.samples) {
    Json sample = Json::array({plan.tokens});
    for (const VersionSegment& segment : plan.versions) {
      sample.push_back(segment.first);
      sample.push_back(segment.version);
    }
    samples.push_back(std::move(sample));
  }
  json["samples"] = std::move(samples);
  return json;
}

// Of the line up to its own chain.
std::string link(const std::string& before, std::string_view text) {
  Sha256 hash;
  hash.update(before);
  hash.update(text);
  return hash.hex();
}

}  // namespace

std::string digest_of(const std::vector<Sample>& samples) {
  Sha256 hash;
  const auto add = [&](const auto& values) {
    const uint64_t count = values.size();
    hash.update(&count, sizeof count);
    if (count > 0) hash.update(values.data(), count * sizeof values[0]);
  };
  for (const Sample& sample : samples) {
    add(sample.tokens);
    add(sample.logprobs);
    add(sample.entropies);
  }
  return hash.hex().substr(0, 16);
}

std::string journal_line(const JournalStep& step, std::string& chain) {
  Json groups = Json::array();
  for (const JournalGroup& group : step.groups) groups.push_back(to_json(group));
  const Json json = {{"step", step.step}, {"weights", step.weights}, {"groups", std::move(groups)}};
  std::string line = json.dump();
  line.pop_back();
  chain = link(chain, line);
  return line.append(kChainKey).append(chain).append("\"}");
}

JournalStep parse_journal_line(std::string_view line, int64_t step, std::string& chain) {
  if (line.size() > kMaxJournalLine) refuse("it has more than 64 MiB");
  const size_t tail = kChainKey.size() + kDigits + 2;
  if (line.size() < tail || line.substr(line.size() - tail, kChainKey.size()) != kChainKey)
    refuse("it does not end with its chain");
  const std::string_view text = line.substr(0, line.size() - tail);
  const std::string found = link(chain, text);
  if (line.substr(line.size() - kDigits - 2) != found + "\"}")
    refuse("its chain does not fit: the line, or one before it, was changed, removed or added");
  const Json json = parse_json(line, "the line");
  if (!json.is_object()) refuse("it is no object");
  JournalStep out;
  out.step = whole(member(json, "step"), kMost, "step");
  if (step >= 0 && out.step != step)
    refuse("it is of step " + std::to_string(out.step) + " instead of " + std::to_string(step));
  out.weights = whole(member(json, "weights"), kMost, "weights");
  for (const Json& group : list(member(json, "groups"), kMaxGroups, "groups"))
    out.groups.push_back(parse_group(group, out.weights));
  chain = found;
  return out;
}

JournalReader::JournalReader(const std::filesystem::path& path) : path_(path) {
  if (!std::filesystem::exists(path)) return;
  file_.open(path, std::ios::binary);
  if (!file_) fail("cannot read " + path.string(), "check its permissions");
}

std::optional<JournalStep> JournalReader::next() {
  if (!file_.is_open()) return std::nullopt;
  std::string line;
  char c = 0;
  while (file_.get(c) && c != '\n' && line.size() <= kMaxJournalLine) line.push_back(c);
  if (!file_ && c != '\n') return std::nullopt;  // the end, or what a kill has left
  try {
    JournalStep out = parse_journal_line(line, step_, chain_);
    step_ = out.step + 1;
    ++line_;
    bytes_ += line.size() + 1;
    return out;
  } catch (const Error& error) {
    fail(path_.string() + ":" + std::to_string(line_ + 1) + ": " + error.what(),
         "bring back an intact copy of the file; nothing was changed");
  }
}

JournalWriter::JournalWriter(const std::filesystem::path& path, uint64_t bytes, std::string chain)
    : chain_(std::move(chain)), file_(path, /*append=*/true) {
  if (std::filesystem::file_size(path) > bytes) std::filesystem::resize_file(path, bytes);
}

void JournalWriter::append(const JournalStep& step) {
  const std::string line = journal_line(step, chain_);
  if (line.size() > kMaxJournalLine) {
    fail("the journal's line of step " + std::to_string(step.step) + " has more than 64 MiB",
         "take fewer samples a step");
  }
  file_.write(line + "\n");
  file_.sync();
}

}  // namespace zeroth
