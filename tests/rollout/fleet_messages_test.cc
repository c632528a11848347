// Messages survive the way, in both encodings; what is not as described is refused by name.
#include "core/error.h"
#include "fleet_support.h"
#include "rollout/fleet/access.h"
#include "rollout/fleet/messages.h"

namespace zeroth::fleet::test {
namespace {

const char* const kTypes[] = {kMessagePackType, kJsonType};

Json there_and_back(const Json& json, const char* type) {
  return decode_body(encode_body(json, type), type);
}

Result made_result() {
  Result out{42, "session", std::string(64, 'a'), {}};
  for (int i = 0; i < 3; ++i) {
    Sample sample;
    sample.tokens = {1, 2, 70000 + i};
    sample.logprobs = {-0.1f, -1e-30f, -12.5f};
    sample.entropies = {0.f, 1.f, 2.f};
    sample.kept_offsets = {0, 1, 1, 2};
    sample.kept_ids = {5, 6};
    sample.experts = {1, 2, 3, 4, 5, 6};
    sample.router_confidence = {255, 0, 7};
    sample.prompt_experts = {0, 7, 255};
    out.samples.push_back(sample);
  }
  return out;
}

TEST_CASE("results and leases come back bit for bit") {
  for (const char* type : kTypes) {
    CAPTURE(type);
    const Result result = made_result();
    const Result back = Result::from_json(there_and_back(result.to_json(), type));
    CHECK(back.session == result.session);
    CHECK(compare_samples(back.samples, result.samples).honest());
    Lease lease{42, std::string(64, 'b'), requests(1, 3, 9)[0]};
    lease.request.seed = UINT64_MAX;
    lease.request.sampling.stop = {"</answer>", "\xff\xfe"};
    lease.request.sampling.top_p = 0.1;
    if (type == kTypes[1]) lease.request.sampling.stop.pop_back();  // JSON text is UTF-8
    const Lease got = Lease::from_json(there_and_back(lease.to_json(), type));
    CHECK(got.id == 42);
    CHECK(got.request.prompt == lease.request.prompt);
    CHECK(got.request.seed == UINT64_MAX);
    CHECK(got.request.sampling.stop == lease.request.sampling.stop);
    CHECK(got.request.sampling.top_p == 0.1);
  }
}

TEST_CASE("a message without one of its fields, or with another type there, is refused by name") {
  const std::vector<std::pair<const char*, std::function<void(const Json&)>>> readers = {
      {"hello", [](const Json& j) { Hello::from_json(j); }},
      {"result", [](const Json& j) { Result::from_json(j); }},
      {"lease", [](const Json& j) { Lease::from_json(j); }},
      {"asked", [](const Json& j) { LeasesAsked::from_json(j); }},
      {"given", [](const Json& j) { LeasesGiven::from_json(j); }},
      {"progress", [](const Json& j) { Progress::from_json(j); }},
      {"welcome", [](const Json& j) { Welcome::from_json(j); }}};
  Welcome welcome;
  welcome.model = Json::object();
  const Json good[] = {Hello{}.to_json(),
                       made_result().to_json(),
                       Lease{1, std::string(64, 'b'), requests(1, 3, 9)[0]}.to_json(),
                       LeasesAsked{}.to_json(),
                       LeasesGiven{}.to_json(),
                       Progress{"s", {{1, 2}}}.to_json(),
                       welcome.to_json()};
  for (size_t m = 0; m < readers.size(); ++m) {
    CAPTURE(readers[m].first);
    CHECK_NOTHROW(readers[m].second(good[m]));
    for (const auto& [name, value] : good[m].items()) {
      Json bad = good[m];
      bad.erase(name);
      CHECK_THROWS_WITH_AS(readers[m].second(bad), doctest::Contains(name.c_str()), Error);
      for (const Json& other : {Json(nullptr), Json(-1), Json("x"), Json(1.5), Json::array({1}),
                                Json(std::string(1 << 17, 'x'))}) {
        bad[name] = other;
        try {
          readers[m].second(bad);
          CHECK(other.type() == value.type());
        } catch (const Error&) {
        }
      }
    }
    for (const Json& other : {Json(), Json(1), Json::array(), Json("x"), Json::object()})
      CHECK_THROWS_AS(readers[m].second(other), Error);
  }
}

TEST_CASE("names of files that would leave their folder are refused") {
  for (const char* name : {"../x", "/etc/passwd", "a/b", "", ".hidden", "a\\b", "a\nb"}) {
    CAPTURE(name);
    Welcome welcome;
    welcome.model = Json::object();
    welcome.files = {{name, {std::string(64, 'a'), 3}}};
    CHECK_THROWS_AS(Welcome::from_json(welcome.to_json()), Error);
  }
}

TEST_CASE("the first difference is named; what a worker does not know yet agrees") {
  const Identity ours{"c", "m", "t"};
  CHECK(compare(ours, {"c", "m", "t"}).field.empty());
  CHECK(compare(ours, {"c", "", ""}).field.empty());
  CHECK(compare(ours, {"x", "m", "t"}).field == "contract");
  CHECK(compare(ours, {"", "m", "t"}).field == "contract");
  CHECK(compare(ours, {"c", "x", "t"}).field == "config");
  CHECK(compare(ours, {"c", "m", "x"}).field == "tokenizer");
}

TEST_CASE("tokens: hashes only, roles, comments, and short ones refused") {
  const TokenList list = TokenList::from_text(
      "# the fleet\naaaaaaaaaaaaaaaaaaaa worker\n\nbbbbbbbbbbbbbbbbbbbb observer # dashboard\n"
      "cccccccccccccccccccc\n",
      "test");
  CHECK(list.role_of("aaaaaaaaaaaaaaaaaaaa") == Role::kWorker);
  CHECK(list.role_of("bbbbbbbbbbbbbbbbbbbb") == Role::kObserver);
  CHECK(list.role_of("cccccccccccccccccccc") == Role::kWorker);
  for (const char* no : {"", "a", "aaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaaaa", "worker"})
    CHECK_FALSE(list.role_of(no));
  for (const char* bad : {"", "# nothing\n", "short\n", "aaaaaaaaaaaaaaaaaaaa admin\n",
                          "aaaaaaaaaaaaaaaaaaaa worker x\n"}) {
    CAPTURE(bad);
    CHECK_THROWS_WITH_AS(TokenList::from_text(bad, "FILE"), doctest::Contains("FILE"), Error);
  }
  CHECK_THROWS_AS(TokenList::first_token("bbbbbbbbbbbbbbbbbbbb observer\n", "F"), Error);
}

TEST_CASE("a quarantine outlives its process") {
  const Folder folder;
  {
    Quarantine quarantine(folder.path);
    quarantine.add("liar", "", "token 3 of sample 1", {{"lease", 7}});
    CHECK(quarantine.holds("liar", ""));
    CHECK_FALSE(quarantine.holds("honest", ""));
  }
  write_file_atomic(folder.path / "evidence" / "torn.json", "{\"worker\": ");
  Quarantine again(folder.path);
  CHECK(again.holds("liar", ""));
  again.add("other", "", "logprob", Json::object());
  CHECK(Quarantine(folder.path).reasons().size() == 2);
}

}  // namespace
}  // namespace zeroth::fleet::test
