#include "rl/checkpoint.h"

#include <doctest/doctest.h>

#include "core/error.h"
#include "model/formats/gguf_model.h"
#include "support.h"

using namespace zeroth;
namespace fs = std::filesystem;

namespace {

struct Trained {
  std::unique_ptr<Policy> policy = tiny_policy();
  std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(kTinyBase);
  AdamW optimizer{policy->parameters(), {}};

  void step(float gradient) {
    std::vector<float> grads(policy->parameters().values().size());
    for (const ParameterInfo& info : policy->parameters().infos()) {
      std::fill_n(grads.begin() + info.offset, info.count, gradient);
    }
    optimizer.step(policy->parameters(), grads, 1e-3);
    policy->publish(optimizer.steps());
  }
  void save(const fs::path& run, int64_t step, int keep_last = 0) {
    save_checkpoint(run, step,
                    {*policy, read_tokenizer_files(*tokenizer), optimizer, nullptr, {{"draws", 7}}},
                    {.last = keep_last});
  }
};

void flip_byte(const fs::path& file, size_t at) {
  std::string content = read_file(file);
  content[at] = static_cast<char>(content[at] ^ 1);
  write_file_atomic(file, content);
}

}  // namespace

TEST_CASE("what is saved comes back, bit for bit") {
  TemporaryFolder run;
  CHECK(!newest_checkpoint(run.path()));
  Trained trained;
  trained.step(1);
  trained.step(-0.5);
  trained.save(run.path(), 3);
  const auto checkpoint = newest_checkpoint(run.path());
  REQUIRE(checkpoint);
  CHECK(checkpoint->step == 3);
  CHECK(checkpoint->optimizer_steps == 2);
  CHECK(checkpoint->state == Json{{"draws", 7}});
  const auto policy = Policy::load(checkpoint->folder);
  AdamW optimizer(policy->parameters(), {});
  restore_trainer(*checkpoint, *policy, optimizer, nullptr);
  const auto equal = [](auto a, auto b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  };
  CHECK(equal(policy->parameters().values(), trained.policy->parameters().values()));
  CHECK(equal(optimizer.first_moment(), trained.optimizer.first_moment()));
  CHECK(equal(optimizer.second_moment(), trained.optimizer.second_moment()));
  CHECK(optimizer.steps() == 2);
  // The folder is a checkpoint that samples: the tokenizer is there, with its end-of-text.
  CHECK(load_tokenizer(checkpoint->folder)->eos_ids() == std::vector<TokenId>{1});
  CHECK(fs::is_regular_file(run.path() / "checkpoints" / "latest" / "model.safetensors"));
}

TEST_CASE("keep_last keeps the newest, latest always among them") {
  TemporaryFolder run;
  Trained trained;
  for (int64_t step : {0, 2, 4, 6, 8}) trained.save(run.path(), step, 2);
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(run.path() / "checkpoints")) {
    names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  CHECK(names == std::vector<std::string>{"latest", "step-6", "step-8"});
  CHECK(newest_checkpoint(run.path())->step == 8);
}

TEST_CASE("a truncated, damaged or missing file is never read as good") {
  TemporaryFolder run;
  Trained trained;
  trained.save(run.path(), 0);
  trained.step(1);
  trained.save(run.path(), 5);
  const fs::path folder = run.path() / "checkpoints" / "step-5";
  const auto whole = files_below(folder);
  REQUIRE(whole.size() >= 5);
  for (const auto& [name, content] : whole) {
    CAPTURE(name);
    for (const std::string how : {"cut", "flip", "gone"}) {
      CAPTURE(how);
      if (how == "cut") fs::resize_file(folder / name, content.size() / 2);
      if (how == "flip" && name == "trainer_state.json") continue;  // text; its own flips are below
      if (how == "flip") flip_byte(folder / name, content.size() / 3);
      if (how == "gone") fs::remove(folder / name);
      const auto checkpoint = newest_checkpoint(run.path());
      REQUIRE(checkpoint);
      CHECK(checkpoint->step == 0);
      REQUIRE(checkpoint->passed_over.size() == 1);
      CHECK(checkpoint->passed_over[0].find(name) != std::string::npos);
      write_file_atomic(folder / name, content);
    }
  }
  CHECK(newest_checkpoint(run.path())->step == 5);
  CHECK(newest_checkpoint(run.path())->passed_over.empty());
  // None is left: each is named.
  flip_byte(folder / "optimizer.bin", 100);
  flip_byte(run.path() / "checkpoints" / "step-0" / "model.safetensors", 100);
  CHECK_THROWS_WITH_AS(newest_checkpoint(run.path()), doctest::Contains("step-0"), Error);
  CHECK_THROWS_WITH_AS(newest_checkpoint(run.path()), doctest::Contains("step-5"), Error);
  CHECK(fs::exists(folder / "model.safetensors"));
}

TEST_CASE("the newest checkpoint is found whatever became of latest") {
  TemporaryFolder run;
  Trained trained;
  for (int64_t step : {2, 4, 10}) trained.save(run.path(), step);
  const fs::path folder = run.path() / "checkpoints";
  const fs::path latest = folder / "latest";
  for (const std::string how : {"missing", "dangling", "older", "file", "folder", "elsewhere"}) {
    CAPTURE(how);
    fs::remove_all(latest);
    if (how == "dangling") fs::create_directory_symlink("step-7", latest);
    if (how == "older") fs::create_directory_symlink("step-2", latest);
    if (how == "file") write_file_atomic(latest, "step-10");
    if (how == "folder") fs::copy(folder / "step-4", latest, fs::copy_options::recursive);
    if (how == "elsewhere") fs::create_directory_symlink("/", latest);
    const auto checkpoint = newest_checkpoint(run.path());
    REQUIRE(checkpoint);
    CHECK(checkpoint->step == 10);
    CHECK(checkpoint->folder.filename() == "step-10");
    mend_latest(run.path(), 10);
    const bool kept = how == "file" || how == "folder";  // no link: it goes with the next save
    CHECK(fs::is_symlink(latest) != kept);
  }
  // A copy that kept nothing but the folder that the link led to.
  fs::remove_all(latest);
  fs::rename(folder / "step-10", latest);
  CHECK(newest_checkpoint(run.path())->step == 10);
  fs::remove_all(folder / "step-2");
  fs::remove_all(folder / "step-4");
  CHECK(newest_checkpoint(run.path())->folder == latest);
  CHECK(has_checkpoints(run.path()));
  // The next save makes a link of it again.
  trained.save(run.path(), 11);
  CHECK(fs::read_symlink(latest) == "step-11");
}

TEST_CASE("nothing goes before its successor is safe") {
  TemporaryFolder run;
  Trained trained;
  for (int64_t step : {2, 4, 6}) trained.save(run.path(), step);
  const fs::path folder = run.path() / "checkpoints";
  flip_byte(folder / "step-6" / "optimizer.bin", 100);
  fs::create_directories(folder / ".tmp-step-8");
  fs::create_directories(folder / ".old-step-1");
  fs::create_directories(folder / "step-04");  // somebody's own
  const auto before = files_below(folder);
  CHECK(newest_checkpoint(run.path())->step == 4);
  CHECK(files_below(folder) == before);
  trained.save(run.path(), 5, 2);
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  CHECK(names == std::vector<std::string>{"latest", "step-04", "step-4", "step-5"});
}

TEST_CASE("another numeric contract or another shape is refused with both named") {
  TemporaryFolder run;
  Trained trained;
  trained.save(run.path(), 1);
  const fs::path state = run.path() / "checkpoints" / "step-1" / "trainer_state.json";
  const std::string text = read_file(state);
  Json json = parse_json(text, "state");
  json["numeric_contract"] = "0123456789abcdef";
  write_file_atomic(state, json.dump());
  CHECK_THROWS_WITH_AS(newest_checkpoint(run.path()), doctest::Contains("0123456789abcdef"), Error);
  json["numeric_contract"] = "8debf19ed580cba6593494f3c0241b6ed400509216929d2a86ad41d381f24981";
  write_file_atomic(state, json.dump());
  CHECK_THROWS_WITH_AS(
      newest_checkpoint(run.path()),
      doctest::Contains("written under numeric contract 1 (8debf19ed580cba6), this "
                        "build has contract 4"),
      Error);
  json["numeric_contract"] = "826ffcb75f7f9f144c816679521eed04fdcbbe03e519bb224ea8e4b101b9c367";
  write_file_atomic(state, json.dump());  // contract 2: only added to
  CHECK_NOTHROW(newest_checkpoint(run.path()));
  // Its weights load as ever.
  CHECK(Policy::load(run.path() / "checkpoints" / "step-1")->parameters().values().size() > 0);
  write_file_atomic(state, text);

  const auto checkpoint = newest_checkpoint(run.path());
  Json config = read_json_file(kTinyBase / "config.json");
  config["num_hidden_layers"] = 3;
  const auto other = Policy::init(PolicyConfig::from_json(config, "test"), 1);
  AdamW optimizer(other->parameters(), {});
  CHECK_THROWS_WITH_AS(restore_trainer(*checkpoint, *other, optimizer, nullptr),
                       doctest::Contains("layout"), Error);
}

TEST_CASE("a folder that cannot be written is an error, and the checkpoint before it stays") {
  TemporaryFolder run;
  Trained trained;
  trained.save(run.path(), 0);
  // A file where the temporary folder has to go stands for a disk that refuses (tests may run as
  // root).
  write_file_atomic(run.path() / "checkpoints" / "blocker", "");
  const fs::path blocked = run.path() / "checkpoints" / "blocker" / "run";
  CHECK_THROWS_AS(trained.save(blocked, 1), Error);
  CHECK(newest_checkpoint(run.path())->step == 0);
}
