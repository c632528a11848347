#include "record/trace_store.h"

#define DOCTEST_CONFIG_SUPER_FAST_ASSERTS
#include <doctest/doctest.h>

#include <cstring>

#include "core/error.h"
#include "record/crc32c.h"
#include "tests/record/samples.h"

using namespace zeroth;
namespace fs = std::filesystem;

namespace {

// Everything but entropies, which the store rounds, must come back bit for bit.
void check_equal(const Group& got, const Group& want) {
  REQUIRE(got.samples.size() == want.samples.size());
  CHECK(got.problem.id == want.problem.id);
  CHECK(got.problem.prompt == want.problem.prompt);
  CHECK(got.problem.meta == want.problem.meta);
  CHECK(got.prompt_tokens == want.prompt_tokens);
  CHECK(got.zero_variance == want.zero_variance);
  for (size_t i = 0; i < got.samples.size(); ++i) {
    const Sample& a = got.samples[i];
    const Sample& b = want.samples[i];
    CHECK(a.key == b.key);
    CHECK(a.tokens == b.tokens);
    CHECK(a.logprobs == b.logprobs);
    CHECK(a.text == b.text);
    CHECK(a.versions == b.versions);
    CHECK(a.finish == b.finish);
    CHECK(a.reward == b.reward);
    CHECK(a.advantage == b.advantage);
    CHECK(a.masked == b.masked);
    CHECK(a.experts == b.experts);
    CHECK(a.router_confidence == b.router_confidence);
    CHECK(a.kept_ids == b.kept_ids);
    CHECK(a.kept_offsets == b.kept_offsets);
    REQUIRE(a.entropies.size() == b.entropies.size());
    for (size_t t = 0; t < a.entropies.size(); ++t) {
      CHECK(std::abs(a.entropies[t] - b.entropies[t]) <= b.entropies[t] / 2048 + 6e-8f);
    }
    REQUIRE(a.verdicts.size() == b.verdicts.size());
    for (size_t v = 0; v < a.verdicts.size(); ++v) {
      CHECK(a.verdicts[v].name == b.verdicts[v].name);
      CHECK(a.verdicts[v].score == b.verdicts[v].score);
      CHECK(a.verdicts[v].reason == b.verdicts[v].reason);
      CHECK(a.verdicts[v].extracted == b.verdicts[v].extracted);
      CHECK(a.verdicts[v].info == b.verdicts[v].info);
    }
  }
}

// Three steps of four groups, with an annotation per step.
void write_run(const fs::path& folder, int steps = 3, int first = 1) {
  TraceWriter writer(folder, Json({{"task", {{"name", "countdown"}}}}), letters_vocabulary());
  for (int step = first; step <= steps; ++step) {
    for (int g = 0; g < 4; ++g) {
      writer.append(step, g, GroupSource::kTrain, random_group(7, step, g, 3, 40));
    }
    writer.annotate(step, 1, GroupSource::kTrain, "ratios", {{1.0f, 0.5f}, {}, {2.0f}});
  }
}

// Every group that the reader offers must be one that was written; returns how many are readable.
int readable_groups(const fs::path& folder) {
  TraceReader reader(folder);
  int good = 0;
  for (const TraceEntry& entry : reader.groups()) {
    Group group;
    try {
      group = reader.read(entry);
    } catch (const Error&) {
      continue;
    }
    check_equal(group, random_group(7, entry.step, entry.group, 3, 40));
    ++good;
  }
  return good;
}

void write_bytes(const fs::path& path, std::string_view bytes) {
  FileWriter writer(path);
  writer.write(bytes);
}

}  // namespace

TEST_CASE("crc32c known answers") {
  // RFC 3720 B.4 and the usual check value.
  CHECK(crc32c("123456789", 9) == 0xE3069283u);
  const std::string zeros(32, '\0');
  CHECK(crc32c(zeros.data(), 32) == 0x8A9136AAu);
  const std::string ones(32, '\xff');
  CHECK(crc32c(ones.data(), 32) == 0x62A8AB43u);
  CHECK(crc32c("6789", 4, crc32c("12345", 5)) == 0xE3069283u);
}

TEST_CASE("groups come back as they were written") {
  TemporaryFolder folder;
  write_run(folder.path());
  TraceReader reader(folder.path());
  CHECK(reader.groups().size() == 12);
  CHECK(reader.damage().empty());
  CHECK(reader.run_info()["task"]["name"] == "countdown");
  CHECK(reader.vocabulary() == letters_vocabulary());
  CHECK(readable_groups(folder.path()) == 12);
  const Annotations notes = reader.annotations(reader.groups()[1]);
  REQUIRE(notes.count("ratios") == 1);
  CHECK(notes.at("ratios") == std::vector<std::vector<float>>{{1.0f, 0.5f}, {}, {2.0f}});
  CHECK(reader.annotations(reader.groups()[0]).empty());
}

TEST_CASE(
    "odd samples survive: empty, masked, kept sets, experts, weights switched on the way, text "
    "that "
    "tokens do not give") {
  TemporaryFolder folder;
  Group group = random_group(7, 1, 0, 5, 30);
  group.zero_variance = true;
  group.samples[0].text = std::string("not the tokens \xff\0 <script>", 25);
  group.samples[1] = Sample{};
  group.samples[1].versions = {{0, 0}};
  group.samples[2].masked = true;
  group.samples[2].reward = std::nan("");
  group.samples[3].kept_ids = {1, 2, 3};
  group.samples[3].kept_offsets = {0, 1, 3};
  group.samples[3].experts.assign(group.samples[3].tokens.size() * 4, 7);
  for (size_t i = 0; i < group.samples[3].experts.size(); ++i) {
    group.samples[3].router_confidence.push_back(static_cast<uint8_t>(255 - i));
  }
  group.samples[4].logprobs.clear();
  group.samples[4].tokens.resize(5, 1);
  group.samples[4].versions = {{0, 3}, {2, 4}, {4, 7}};
  group.samples[4].text.resize(2);
  {
    TraceWriter writer(folder.path(), Json::object(), letters_vocabulary());
    writer.append(1, 0, GroupSource::kProbe, group);
  }
  TraceReader reader(folder.path());
  Group got = reader.read(reader.groups()[0]);
  CHECK(std::isnan(got.samples[2].reward));
  got.samples[2].reward = group.samples[2].reward = 0;
  check_equal(got, group);
  CHECK(reader.groups()[0].source == GroupSource::kProbe);
}

TEST_CASE("only records with router confidences are of version 2") {
  TemporaryFolder folder;
  Group group = random_group(7, 1, 0, 2, 30);
  for (Sample& sample : group.samples) {  // values that no mathematics library rounds
    sample.advantage = 0.5;
    sample.logprobs.assign(sample.tokens.size(), -0.25f);
    sample.entropies.assign(sample.tokens.size(), 0.75f);
  }
  // The payload that programs of format version 1 wrote.
  const std::string payload = encode_group(group, letters_vocabulary());
  CHECK(crc32c(payload.data(), payload.size()) == 0xa82ec236u);
  TraceWriter writer(folder.path(), Json::object(), letters_vocabulary());
  writer.append(1, 0, GroupSource::kTrain, group);
  group.samples[1].router_confidence.assign(3, 255);
  writer.append(1, 1, GroupSource::kTrain, group);
  const TraceReader reader(folder.path());
  const std::string stream = read_file(folder.path() / "stream.zst");
  std::vector<int> versions;
  for (const TraceEntry& entry : reader.groups()) {
    versions.push_back(
        parse_record_header(std::string_view(stream).substr(entry.offset), entry.offset)->version);
  }
  CHECK(versions == std::vector<int>{1, 2});
  CHECK(reader.read(reader.groups()[0]).samples[1].router_confidence.empty());
  check_equal(reader.read(reader.groups()[1]), group);
}

TEST_CASE("same calls give the same bytes") {
  TemporaryFolder a;
  TemporaryFolder b;
  write_run(a.path());
  write_run(b.path());
  CHECK(read_file(a.path() / "stream.zst") == read_file(b.path() / "stream.zst"));
  CHECK(read_file(a.path() / "offsets.idx") == read_file(b.path() / "offsets.idx"));
}

TEST_CASE("cut back to a step and written again gives the same bytes") {
  TemporaryFolder a;
  TemporaryFolder b;
  write_run(a.path());
  write_run(b.path());
  {
    TraceWriter writer(b.path(), Json::object(), {});
    writer.truncate_to(1);
  }
  CHECK(readable_groups(b.path()) == 4);
  write_run(b.path(), 3, 2);
  CHECK(read_file(a.path() / "stream.zst") == read_file(b.path() / "stream.zst"));
  CHECK(read_file(a.path() / "offsets.idx") == read_file(b.path() / "offsets.idx"));
}

TEST_CASE("steps must not go back") {
  TemporaryFolder folder;
  write_run(folder.path());
  TraceWriter writer(folder.path(), Json::object(), {});
  CHECK_THROWS_AS(writer.append(2, 0, GroupSource::kTrain, Group{}), Error);
}

TEST_CASE("cut at any byte: every whole record is read, the writer goes on behind them") {
  TemporaryFolder folder;
  write_run(folder.path());
  const std::string whole = read_file(folder.path() / "stream.zst");
  std::vector<uint64_t> ends;
  {
    TraceReader reader(folder.path());
    for (const TraceEntry& e : reader.groups()) {
      ends.push_back(e.offset + kRecordHeaderBytes + e.payload_bytes);
    }
  }
  write_bytes(folder.path() / "offsets.idx.tmp.123", "what a killed process left");
  { const TraceWriter writer(folder.path(), Json::object(), letters_vocabulary()); }
  CHECK_FALSE(fs::exists(folder.path() / "offsets.idx.tmp.123"));
  Rng rng(1, 1);
  for (int trial = 0; trial < 1000; ++trial) {
    TemporaryFolder cut;
    const size_t at = 1 + rng.below(static_cast<uint32_t>(whole.size()));
    write_bytes(cut.path() / "stream.zst", std::string_view(whole).substr(0, at));
    if (trial % 2 == 0) {  // an offset index that promises more than there is
      fs::copy_file(folder.path() / "offsets.idx", cut.path() / "offsets.idx");
    }
    const auto expected =
        std::count_if(ends.begin(), ends.end(), [&](uint64_t e) { return e <= at; });
    CHECK(readable_groups(cut.path()) == expected);
    if (trial % 20 == 0) {
      {
        TraceWriter writer(cut.path(), Json({{"task", {{"name", "countdown"}}}}),
                           letters_vocabulary());
      }
      CHECK(readable_groups(cut.path()) == expected);
      CHECK(whole.rfind(read_file(cut.path() / "stream.zst"), 0) != std::string::npos);
    }
  }
}

TEST_CASE("any flipped byte: never a wrong record, all others readable") {
  TemporaryFolder folder;
  write_run(folder.path());
  const std::string whole = read_file(folder.path() / "stream.zst");
  Rng rng(2, 1);
  for (int trial = 0; trial < 1000; ++trial) {
    TemporaryFolder broken;
    std::string bytes = whole;
    const size_t at = rng.below(static_cast<uint32_t>(whole.size()));
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << rng.below(8)));
    write_bytes(broken.path() / "stream.zst", bytes);
    if (trial % 2 == 0) fs::copy_file(folder.path() / "offsets.idx", broken.path() / "offsets.idx");
    int good = 0;
    bool refused = false;
    try {
      good = readable_groups(broken.path());
    } catch (const Error&) {
      refused = true;
    }
    CHECK_FALSE(refused);
    // One flip damages one record; when it is the run's or a vocabulary, no group.
    CHECK(good >= 11);
    TraceReader reader(broken.path());
    reader.refresh(/*verify=*/true);
    CHECK(reader.groups().size() == static_cast<size_t>(good));
  }
}

TEST_CASE("foreign and newer files are refused by name") {
  TemporaryFolder folder;
  write_bytes(folder.path() / "stream.zst", std::string(5000, 'x'));
  CHECK_THROWS_WITH_AS(TraceReader(folder.path()), doctest::Contains("not a trace stream"), Error);
  CHECK_THROWS_WITH_AS(TraceWriter(folder.path(), Json::object(), {}),
                       doctest::Contains("not a trace stream"), Error);
  CHECK(fs::file_size(folder.path() / "stream.zst") == 5000);
  RecordHeader header;
  header.kind = RecordKind::kRun;
  header.version = kTraceFormatVersion + 1;
  write_bytes(folder.path() / "stream.zst", encode_record(header, "{}"));
  CHECK_THROWS_WITH_AS(TraceReader(folder.path()), doctest::Contains("format version 4"), Error);
  CHECK_THROWS_WITH_AS(TraceWriter(folder.path(), Json::object(), {}),
                       doctest::Contains("format version 4"), Error);
  CHECK_THROWS_WITH_AS(TraceReader(folder.path() / "nowhere"), doctest::Contains("RUN/traces"),
                       Error);
}

TEST_CASE("a reader follows a run that grows, is cut and starts over") {
  TemporaryFolder folder;
  write_run(folder.path(), 1);
  TraceReader reader(folder.path());
  CHECK(reader.groups().size() == 4);
  write_run(folder.path(), 3, 2);
  CHECK(reader.refresh());
  CHECK(reader.groups().size() == 12);
  const uint64_t generation = reader.generation();
  {
    TraceWriter writer(folder.path(), Json::object(), {});
    writer.truncate_to(2);
  }
  CHECK_FALSE(reader.refresh());
  CHECK(reader.generation() > generation);
  CHECK(reader.groups().size() == 8);
  fs::remove(folder.path() / "stream.zst");
  fs::remove(folder.path() / "offsets.idx");
  write_run(folder.path(), 1);
  CHECK_FALSE(reader.refresh());
  CHECK(reader.groups().size() == 4);
}

TEST_CASE("a token costs less than ten bytes") {
  TemporaryFolder folder;
  uint64_t tokens = 0;
  TraceWriter writer(folder.path(), Json::object(), letters_vocabulary());
  const uint64_t before = writer.bytes();
  for (int g = 0; g < 8; ++g) {
    const Group group = random_group(3, 1, g, 16, 180);
    for (const Sample& sample : group.samples) tokens += sample.tokens.size();
    writer.append(1, g, GroupSource::kTrain, group);
  }
  const double cost = static_cast<double>(writer.bytes() - before) / static_cast<double>(tokens);
  MESSAGE("bytes per token: " << cost);
  CHECK(cost < 10);
}
