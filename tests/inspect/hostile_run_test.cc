// Run folders as a stranger may have made them: looked at, they cost an error or a sample, never
// memory, a file or a hang.
#define DOCTEST_CONFIG_SUPER_FAST_ASSERTS
#include <doctest/doctest.h>

#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/files.h"
#include "inspect/index_file.h"
#include "inspect/judge.h"
#include "inspect/sqlite.h"
#include "inspect/trace_index.h"
#include "record/trace_store.h"
#include "tests/inspect/hostile_stream.h"

using namespace zeroth;
namespace fs = std::filesystem;

TEST_CASE("records that claim more than they hold are damage, at no cost in memory") {
  const Cache cache;
  TemporaryFolder folder;
  Stream stream(kCountdown);
  for (uint32_t i = 0; i < 200; ++i) {
    stream.add(RecordKind::kGroup, 1, i, "small", 1u << 30);
  }
  stream.add(2, 0, random_group(1, 2, 0, 4, 20));
  stream.write(folder.path());
  TraceReader reader(folder.path() / "traces");
  CHECK(reader.groups().size() == 201);
  CHECK_THROWS_AS(reader.read(reader.groups()[0]), Error);
  CHECK(reader.read(reader.groups()[200]).samples.size() == 4);
  reader.refresh(/*verify=*/true);
  CHECK(reader.damage().size() == 200);
  look(folder.path());
  CHECK(samples_of(folder.path()) == 4);
}

TEST_CASE("a run record may say anything about experts") {
  const Cache cache;
  for (const char* moe :
       {R"({"layers": 3000000, "top_k": 1, "experts": 256})", R"({"layers": -1, "top_k": 1})",
        R"({"layers": "four", "top_k": 2, "experts": 8})", R"({"layers": 1e300, "top_k": 1})",
        R"({"layers": 2, "top_k": 2, "experts": -8})", R"([1, 2])", R"("none")", "null",
        R"({"layers": 4294967296, "top_k": 4294967296, "experts": 1})"}) {
    CAPTURE(moe);
    TemporaryFolder folder;
    Json info = kCountdown;
    info["moe"] = Json::parse(moe);
    Stream stream(info);
    Group group = random_group(1, 1, 0, 4, 20);
    for (Sample& sample : group.samples) sample.experts.assign(sample.tokens.size() * 4, 3);
    stream.add(1, 0, group);
    stream.write(folder.path());
    look(folder.path());
    CHECK(samples_of(folder.path()) == 4);
  }
  CHECK(expert_shape(Json({{"moe", {{"layers", 4}, {"top_k", 2}, {"experts", 8}}}})).row() == 8);
}

TEST_CASE("run records that are none, and tasks that wait or cannot be made") {
  const Cache cache;
  TemporaryFolder folder;
  const fs::path pipe = folder.path() / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  std::vector<Json> infos = {Json::array(),
                             "text",
                             nullptr,
                             3,
                             {{"task", 3}},
                             {{"task", {{"name", 3}}}},
                             {{"task", {{"name", "countdown"}, {"options", {1, 2}}}}}};
  for (const char* name : {"jsonl", "gsm8k", "math"}) {
    for (const std::string& path :
         {pipe.string(), std::string("/dev/zero"), std::string("/dev/tty")}) {
      infos.push_back({{"task", {{"name", name}, {"options", {{"path", path}}}}}});
      infos.push_back(
          {{"task", {{"name", name}, {"options", {{"path", path}, {"held_out_path", path}}}}}});
    }
  }
  infos.push_back({{"task", {{"name", "countdown"}, {"options", {{"data", pipe.string()}}}}}});
  infos.push_back(
      {{"task",
        {{"name", "mixture"},
         {"options",
          {{"parts", {{{"task", "jsonl"}, {"options", {{"path", pipe.string()}}}}}}}}}}});
  for (const Json& info : infos) {
    CAPTURE(info.dump());
    const fs::path run = folder.path() / "run";
    fs::remove_all(run);
    Stream stream(info);
    stream.add(1, 0, random_group(1, 1, 0, 4, 20));
    stream.write(run);
    look(run);
    CHECK(samples_of(run) == 4);
  }
}

TEST_CASE("one broken sample costs itself") {
  const Cache cache;
  const double inf = std::numeric_limits<double>::infinity();
  for (const double bad : {double(NAN), inf, -inf, 1e200, -1e308, 1e100}) {
    CAPTURE(bad);
    TemporaryFolder folder;
    Stream stream(kCountdown);
    Group good = random_group(1, 1, 0, 4, 20);
    for (Sample& sample : good.samples) sample.reward = 0.5;
    stream.add(1, 0, good);
    Group broken = good;
    Sample& sample = broken.samples[2];
    sample.reward = bad;
    sample.advantage = bad;
    for (float& value : sample.logprobs) value = static_cast<float>(bad);
    for (float& value : sample.entropies) value = static_cast<float>(std::abs(bad));
    for (Verdict& verdict : sample.verdicts) verdict.score = verdict.weight = bad;
    stream.add(1, 1, broken);
    stream.write(folder.path());
    look(folder.path());
    RunView view(folder.path());
    view.update();
    const Json steps = view.steps();
    REQUIRE(steps.size() == 1);
    CHECK(steps[0]["samples"] == 8);
    CHECK(steps[0]["reward"].get<double>() == doctest::Approx(0.5 * 7 / 8));
  }
}

TEST_CASE("the index is not opened through a link, and foreign files stay as they are") {
  const Cache cache;
  TemporaryFolder folder;
  const fs::path run = folder.path() / "run", victim = folder.path() / "victim.sqlite";
  {
    Database database(fs::canonical(folder.path()) / "victim.sqlite");
    database.exec(
        "CREATE TABLE steps(a); CREATE TABLE groups(a); CREATE TABLE meta(a); "
        "INSERT INTO steps VALUES(1)");
  }
  const std::string before = read_file(victim);
  const fs::path index = run / "traces" / "index.sqlite";
  const auto fresh = [&] {
    fs::remove_all(run);
    Stream stream(kCountdown);
    stream.add(1, 0, random_group(1, 1, 0, 4, 20));
    stream.write(run);
  };
  SUBCASE("a link to a database") {
    fresh();
    fs::create_symlink(victim, index);
    look(run);
    CHECK(samples_of(run) == 4);
    CHECK(is_link(index));
  }
  SUBCASE("a link to nothing") {
    fresh();
    fs::create_symlink(folder.path() / "nothing", index);
    look(run);
    CHECK_FALSE(fs::exists(folder.path() / "nothing"));
  }
  SUBCASE("links to an empty file, a folder, a device") {
    std::ofstream(folder.path() / "empty").flush();
    for (const fs::path& target : {folder.path() / "empty", folder.path(), fs::path("/dev/null")}) {
      fresh();
      fs::create_symlink(target, index);
      look(run);
      CHECK(is_link(index));
    }
    CHECK(fs::file_size(folder.path() / "empty") == 0);
  }
  SUBCASE("another program's database under the name") {
    fresh();
    fs::copy_file(victim, index);
    look(run);
    CHECK(read_file(index) == before);
  }
  SUBCASE("a pipe, a folder, text under the name") {
    fresh();
    REQUIRE(::mkfifo(index.c_str(), 0600) == 0);
    look(run);
    fresh();
    fs::create_directory(index);
    look(run);
    CHECK(fs::is_directory(index));
    fresh();
    std::ofstream(index)
        << "this is no database, whatever its name says, really; it has to be long "
           "enough for a header, which takes a hundred bytes";
    look(run);
    CHECK(read_file(index).starts_with("this is no database"));
  }
  SUBCASE("a link beside the database") {
    for (const char* suffix : {"-wal", "-shm", "-journal"}) {
      fresh();
      fs::create_symlink(victim, index.string() + suffix);
      look(run);
      CHECK(is_link(index.string() + suffix));
    }
  }
  SUBCASE("a journal that names another file") {
    fresh();
    look(run);
    REQUIRE(fs::exists(index));
    std::string journal = "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + std::string(504, '\0') +
                          victim.string() + std::string(8, '\0') +
                          "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7";
    std::ofstream(index.string() + "-journal", std::ios::binary) << journal;
    look(run);
  }
  SUBCASE("the traces folder is a link") {
    fresh();
    fs::rename(run / "traces", folder.path() / "elsewhere");
    fs::create_directory_symlink(folder.path() / "elsewhere", run / "traces");
    look(run);
    CHECK_FALSE(fs::exists(folder.path() / "elsewhere" / "index.sqlite"));
  }
  CHECK(read_file(victim) == before);
}

TEST_CASE("an index of ours is used again, one with another schema is made anew") {
  const Cache cache;
  TemporaryFolder folder;
  Stream stream(kCountdown);
  stream.add(1, 0, random_group(1, 1, 0, 4, 20));
  stream.write(folder.path());
  CHECK(samples_of(folder.path()) == 4);
  const fs::path index = fs::canonical(folder.path()) / "traces" / "index.sqlite";
  REQUIRE(fs::exists(index));
  CHECK(index_file(folder.path()) == index);
  CHECK(fs::is_empty(cache.folder.path()));
  {
    Database(index).exec("CREATE TRIGGER bad AFTER INSERT ON samples BEGIN DELETE FROM steps; END");
  }
  look(folder.path());
  {
    Database database(index);
    Statement triggers(database, "SELECT count(*) FROM sqlite_master WHERE type = 'trigger'");
    triggers.step();
    CHECK(triggers.integer(0) == 0);
  }
}

TEST_CASE("an index that lies is an error, no crash") {
  const Cache cache;
  TemporaryFolder folder;
  Stream stream(kCountdown);
  for (uint32_t i = 0; i < 3; ++i) stream.add(1, i, random_group(1, 1, i, 4, 20));
  stream.write(folder.path());
  look(folder.path());
  const fs::path index = fs::canonical(folder.path()) / "traces" / "index.sqlite";
  for (const char* lie : {"UPDATE groups SET n = 1000000", "UPDATE groups SET first_sample = -5000",
                          "UPDATE groups SET offset = 7", "UPDATE steps SET stats = '{}'",
                          "UPDATE steps SET stats = 'no json'", "UPDATE groups SET source = 77",
                          "UPDATE samples SET rest = zeroblob(3), len = -9, flags = 1e300",
                          "DELETE FROM problems", "UPDATE groups SET n = -3"}) {
    CAPTURE(lie);
    { Database(index).exec(lie); }
    try {
      RunView view(folder.path());
      view.update();
      SearchRequest request;
      view.for_each_match(request, [](const SampleAddress&, const Group& group, const SampleScan&) {
        CHECK(group.samples.size() == 4);
        return true;
      });
      CHECK(dumps(view.search(request)));
      CHECK(dumps(view.trace({1, 0, 9, GroupSource::kTrain})));
    } catch (const Error&) {
    }
    try {
      look(folder.path());
    } catch (const Error&) {
    }
    RunView view(folder.path());
    view.reindex();
    look(folder.path());
  }
}

TEST_CASE("pipes and devices in a run folder make nobody wait") {
  const Cache cache;
  TemporaryFolder folder;
  const fs::path run = folder.path() / "run";
  for (const char* name : {"metrics.jsonl", "config.json", "traces/judge.jsonl",
                           "traces/offsets.idx", "traces/stream.zst"}) {
    for (const char* target : {"", "/dev/zero", "/dev/random"}) {
      CAPTURE(name);
      CAPTURE(target);
      fs::remove_all(run);
      Stream stream(kCountdown);
      stream.add(1, 0, random_group(1, 1, 0, 4, 20));
      stream.write(run);
      fs::remove(run / name);
      if (*target == '\0') {
        REQUIRE(::mkfifo((run / name).c_str(), 0600) == 0);
      } else {
        fs::create_symlink(target, run / name);
      }
      if (std::string(name) == "traces/stream.zst") {
        CHECK_THROWS_WITH_AS(RunView{run}, doctest::Contains("no regular file"), Error);
      } else if (std::string(name) == "traces/judge.jsonl") {
        CHECK_THROWS_WITH_AS(read_judgements(run), doctest::Contains("no regular file"), Error);
      } else {
        look(run);
      }
    }
  }
}

TEST_CASE("metrics of a stranger: long lines, holes, wide rows, odd values") {
  const Cache cache;
  TemporaryFolder folder;
  Stream stream(kCountdown);
  stream.add(1, 0, random_group(1, 1, 0, 4, 20));
  stream.write(folder.path());
  {
    std::ofstream file(folder.path() / "metrics.jsonl", std::ios::app);
    file << "{\"step\": 1, \"reward\": {\"a\": [[[[[[[[[[[[[1]]]]]]]]]]]]]}}\n";
    file
        << "{\"step\": \"two\", \"reward\": 1}\n[1, 2]\nnull\n{\"reward\": 1}\n{\"step\": 1e300}\n";
    file << "{\"step\": 2, \"text\": \"" << std::string(5 << 20, 'x') << "\"}\n";
    file << "{\"step\": 3";
    for (int i = 0; i < 300000; ++i) file << ",\"m" << i << "\": 1";
    file << "}\n{\"step\": 4, \"reward\": 0.75, \"timing\": {\"step_time\": 2}}\n";
  }
  RunView view(folder.path());
  view.update();
  const Json timeline = view.timeline();
  CHECK(timeline["steps"] == Json({0, 4}));
  CHECK(timeline["series"]["reward"] == Json({0.5, 0.75}));
  CHECK(timeline["series"]["timing/step_time"] == Json({nullptr, 2.0}));
  // A hole is no row, and takes no memory.
  fs::resize_file(folder.path() / "metrics.jsonl", uint64_t{300} << 20);
  view.update();
  CHECK(view.timeline()["steps"].size() == 2);
}
