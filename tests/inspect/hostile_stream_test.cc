// Records and texts as a stranger may have made them.
#define DOCTEST_CONFIG_SUPER_FAST_ASSERTS
#include <doctest/doctest.h>

#include <zstd.h>

#include "core/error.h"
#include "inspect/trace_index.h"
#include "record/trace_store.h"
#include "scan/candidates.h"
#include "scan/scanners.h"
#include "tests/inspect/hostile_stream.h"

using namespace zeroth;

TEST_CASE("a record may unpack to 1024 times its bytes; what compresses better is padded") {
  const std::string zeros(64u << 20, '\0');
  RecordHeader header;
  const std::string record = encode_record(header, zeros);
  const std::string_view payload = std::string_view(record).substr(kRecordHeaderBytes);
  CHECK(payload.size() == header.payload_bytes);
  CHECK(header.payload_bytes >= zeros.size() / 1024);
  CHECK(header.payload_bytes < zeros.size() / 1000);
  CHECK(decode_payload(header, payload) == zeros);
  std::string plain(zeros.size(), 'x');  // any zstd reads it
  CHECK(ZSTD_decompress(plain.data(), plain.size(), payload.data(), payload.size()) ==
        zeros.size());

  // The same without the padding: a bomb.
  std::string bomb(ZSTD_compressBound(zeros.size()), '\0');
  bomb.resize(ZSTD_compress(bomb.data(), bomb.size(), zeros.data(), zeros.size(), 3));
  RecordHeader hostile = header;
  hostile.payload_bytes = static_cast<uint32_t>(bomb.size());
  hostile.payload_crc = crc32c(bomb.data(), bomb.size());
  CHECK_FALSE(decode_payload(hostile, bomb));
  CHECK_FALSE(decode_payload(hostile, [&](uint64_t at, uint64_t n) { return bomb.substr(at, n); }));
}

TEST_CASE("a payload read in pieces unpacks to the same bytes, and no damage passes") {
  Rng rng(5, 5);
  std::string raw(3u << 20, '\0');
  for (char& c : raw) c = static_cast<char>('a' + rng.below(60));
  RecordHeader header;
  const std::string record = encode_record(header, raw);
  std::string payload = record.substr(kRecordHeaderBytes);
  REQUIRE(payload.size() > (1u << 20));
  const auto read = [&](uint64_t at, uint64_t n) { return payload.substr(at, n); };
  CHECK(decode_payload(header, read) == raw);
  payload[payload.size() / 2] ^= 1;
  CHECK_FALSE(decode_payload(header, read));
  header.payload_crc = crc32c(payload.data(), payload.size());  // as a stranger would
  const auto other = decode_payload(header, read);
  CHECK((!other || other->size() == raw.size()));
  payload.resize(payload.size() / 2);
  CHECK_FALSE(decode_payload(header, read));
}

TEST_CASE("texts that a vocabulary of huge tokens would make are refused") {
  Vocabulary vocabulary = {std::string(60000, 'x')};
  Group group = random_group(1, 1, 0, 1, 5);
  Sample& sample = group.samples[0];
  sample.tokens.assign(1000000, 0);
  sample.logprobs.clear();
  sample.entropies.clear();
  sample.text = "x";
  std::string payload = encode_group(group, vocabulary);
  CHECK(decode_group(payload, vocabulary).samples[0].text == "x");
  const size_t at = payload.find("\"t\":1,");
  REQUIRE(at != std::string::npos);
  for (const char* length : {"60000000000", "500000000", "9223372036854775807"}) {
    std::string hostile = payload;
    hostile.replace(at, 6, std::string("\"t\":") + length + ",");
    uint32_t head = 0;
    std::memcpy(&head, hostile.data(), 4);
    head += static_cast<uint32_t>(hostile.size() - payload.size());
    std::memcpy(hostile.data(), &head, 4);
    CHECK_THROWS_WITH_AS(decode_group(hostile, vocabulary), doctest::Contains("longer than"),
                         Error);
  }
  // A real text that is that long is stored as it is.
  sample.tokens.assign(3, 0);
  sample.text = std::string(180000, 'x');
  const std::string stored = encode_group(group, vocabulary);
  CHECK(stored.size() > 180000);
  CHECK(decode_group(stored, vocabulary).samples[0].text == sample.text);
}

TEST_CASE("numbers of a record's head that fit nothing are malformed") {
  const Vocabulary vocabulary = letters_vocabulary();
  const std::string payload = encode_group(random_group(1, 1, 0, 2, 10), vocabulary);
  uint32_t size = 0;
  std::memcpy(&size, payload.data(), 4);
  const Json head = Json::parse(payload.substr(4, size));
  const auto with = [&](const std::function<void(Json&)>& change) {
    Json changed = head;
    change(changed);
    const std::string text = changed.dump();
    const auto bytes = static_cast<uint32_t>(text.size());
    return std::string(reinterpret_cast<const char*>(&bytes), 4) + text + payload.substr(4 + size);
  };
  CHECK_NOTHROW(decode_group(with([](Json&) {}), vocabulary));
  for (const Json& value : {Json(-1), Json(1e300), Json(INT64_MIN), Json(UINT64_MAX), Json("2"),
                            Json(nullptr), Json(1.5), Json::array({1})}) {
    CAPTURE(value.dump());
    for (const char* key : {"n", "t", "f", "v", "nl", "ne", "nx", "nr", "nk", "k", "w"}) {
      CAPTURE(key);
      if (value == Json(nullptr) && std::string(key) == "v") continue;
      // A version may be any whole number of 64 bits.
      if (std::string(key) == "w" && value.is_number_integer() && !value.is_number_unsigned())
        continue;
      CHECK_THROWS_AS(
          decode_group(with([&](Json& h) { h["samples"][0][key] = value; }), vocabulary), Error);
    }
    for (const char* key : {"np", "key", "samples", "zero", "task"}) {
      if (std::string(key) == "task" && value.is_string()) continue;
      if (std::string(key) == "samples" && value.is_null()) continue;
      CHECK_THROWS_AS(decode_group(with([&](Json& h) { h[key] = value; }), vocabulary), Error);
    }
    for (int i = 1; i < 4; ++i) {
      if (i < 3) continue;
      CHECK_THROWS_AS(
          decode_group(with([&](Json& h) { h["samples"][0]["v"][0][i] = value; }), vocabulary),
          Error);
    }
  }
}

TEST_CASE("scanning a text takes time linear in it, whatever it holds") {
  // With a quadratic scan each of these takes minutes.
  constexpr size_t kBytes = 2 << 20;
  const auto filled = [](const std::string& with) {
    std::string text;
    while (text.size() < kBytes) text += with;
    return text;
  };
  Group countdown = random_group(1, 1, 0, 1, 5);
  Group number = countdown;
  number.problem = {"jsonl", "p", "What is 2 + 3?", "5", Json::object()};
  std::string why;
  const auto task = task_of_run(kCountdown, &why);
  const SampleScanner with_task(task.get());
  const SampleScanner without(nullptr);
  for (const std::string part : {"<answer>",
                                 "<answer>x",
                                 "<answer> ",
                                 "</answer><answer>",
                                 "#### ",
                                 "####",
                                 "#### x\n",
                                 "\\boxed{",
                                 "\\boxed{}",
                                 "\\boxed{{",
                                 "{\\boxed{1}",
                                 "}",
                                 "answer is ",
                                 "the answer is 5 ",
                                 "answer: answer = ",
                                 "wait ",
                                 "```",
                                 "1+2=",
                                 "1+2=3 ",
                                 "=",
                                 "->",
                                 "->24 ok wait ",
                                 "<think>",
                                 "</think>",
                                 "\n",
                                 "  ",
                                 "$",
                                 "-"}) {
    CAPTURE(part);
    for (Group* group : {&countdown, &number}) {
      group->samples[0].text = filled(part);
      group->samples[0].verdicts[0].extracted = std::string(400000, part[0]);
      CHECK(without.scan(*group).size() == 1);
      CHECK(with_task.scan(*group).size() == 1);
    }
  }
  // Opening marks first, then what none of them finds an end for.
  countdown.samples[0].text = filled("<answer>a") + filled(" ");
  CHECK(with_task.scan(countdown).size() == 1);
  number.samples[0].text = filled("####") + filled(" ");
  CHECK(without.scan(number).size() == 1);
}

TEST_CASE("candidates are found as before where marks overlap and nest") {
  const auto answers = [](const std::string& text) {
    Group group = random_group(1, 1, 0, 1, 5);
    group.problem = {"jsonl", "p", "q", "5", Json::object()};
    group.samples[0].text = text;
    group.samples[0].verdicts.clear();
    CandidateGrader grader(nullptr, group.problem);
    std::vector<std::string> out;
    for (const Candidate& candidate : grader.find(group.samples[0]))
      out.push_back(candidate.answer);
    return out;
  };
  using Answers = std::vector<std::string>;
  CHECK(answers("<answer>1<answer> 2 </answer> <answer>3") == Answers{"1", "2", "3"});
  CHECK(answers("\\boxed{a{b}c} } \\boxed{7} \\boxed{open") == Answers{"a{b}c", "7"});
  CHECK(answers("{ \\boxed{1} { \\boxed{2}") == Answers{"1", "2"});
  CHECK(answers("\\boxed{ \\boxed{7} ") == Answers{"7"});
  CHECK(answers("#### 5  \n#### 6 #### 7\n####\n") == Answers{"5", "6 #### 7"});
  CHECK(answers("The answer is 4. So the answer is: none, final answer 6") == Answers{"4", "6"});
  CHECK(answers("the answer is that the answer is 9.") == Answers{"9"});
}
