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
                    keep_last);
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
  CHECK(!latest_checkpoint(run.path()));
  Trained trained;
  trained.step(1);
  trained.step(-0.5);
  trained.save(run.path(), 3);
  const auto checkpoint = latest_checkpoint(run.path());
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
  CHECK(latest_checkpoint(run.path())->step == 8);
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
      CHECK_THROWS_WITH_AS(latest_checkpoint(run.path()), doctest::Contains(name.c_str()), Error);
      write_file_atomic(folder / name, content);
    }
  }
  CHECK(latest_checkpoint(run.path())->step == 5);
  // The message says which checkpoint is left.
  flip_byte(folder / "optimizer.bin", 100);
  CHECK_THROWS_WITH_AS(latest_checkpoint(run.path()), doctest::Contains("step-0"), Error);
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
  CHECK_THROWS_WITH_AS(latest_checkpoint(run.path()), doctest::Contains("0123456789abcdef"), Error);
  write_file_atomic(state, text);

  const auto checkpoint = latest_checkpoint(run.path());
  Json config = read_json_file(kTinyBase / "config.json");
  config["num_hidden_layers"] = 3;
  const auto other = Policy::init(PolicyConfig::from_json(config, "test"), 1);
  AdamW optimizer(other->parameters(), {});
  CHECK_THROWS_WITH_AS(restore_trainer(*checkpoint, *other, optimizer, nullptr),
                       doctest::Contains("layout"), Error);
}

TEST_CASE("half-written folders and checkpoints behind latest are cleaned away") {
  TemporaryFolder run;
  Trained trained;
  trained.save(run.path(), 2);
  const fs::path folder = run.path() / "checkpoints";
  fs::create_directories(folder / ".tmp-step-4");
  fs::create_directories(folder / ".old-step-1");
  fs::create_directories(folder / "step-4");  // renamed, but the process died before latest moved
  clean_checkpoints(run.path());
  CHECK(!fs::exists(folder / ".tmp-step-4"));
  CHECK(!fs::exists(folder / ".old-step-1"));
  CHECK(!fs::exists(folder / "step-4"));
  CHECK(latest_checkpoint(run.path())->step == 2);
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
  CHECK(latest_checkpoint(run.path())->step == 0);
}
