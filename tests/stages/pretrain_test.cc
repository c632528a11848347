#include "stages/pretrain.h"

#include <doctest/doctest.h>

#include "core/error.h"
#include "core/json_lines.h"
#include "core/parallel.h"
#include "model/formats/gguf_model.h"
#include "tests/stages/support.h"

using namespace zeroth;
namespace fs = std::filesystem;

namespace {

// Document i: prompt "pp..=" of i % 4 letters, response of i % 5 letters.
class Letters : public Corpus {
 public:
  Document document(uint64_t, int64_t index) const override {
    return {std::string(index % 4, 'p') + (index % 4 > 0 ? "=" : ""), std::string(index % 5, 'r')};
  }
};

constexpr TokenId byte_id(char c) { return 2 + static_cast<unsigned char>(c); }
constexpr TokenId kEnd = 1;

PretrainConfig tiny_pretrain() {
  PretrainConfig config;
  config.model_config = (kTinyBase / "config.json").string();
  config.tokenizer = kTinyBase.string();
  config.corpus.name = "parity";
  config.corpus.options = {{"bits", 4}};
  config.seed = 4;
  config.steps = 12;
  config.batch_tokens = 200;
  config.optimizer.lr = 5e-3;
  config.saving.checkpoint_every = 5;
  config.saving.print_every = 0;
  return config;
}

}  // namespace

TEST_CASE("batches hold whole documents, and loss falls on responses and their end only") {
  const auto tokenizer = load_tokenizer(kTinyBase);
  const Letters corpus;
  DocumentBatches batches(corpus, *tokenizer, 0, 24);
  int64_t next = 0;
  int64_t expected_next = 0;
  for (int batch = 0; batch < 6; ++batch) {
    const int64_t first = next;
    batches.build(next);
    CHECK(batches.batch().packed.rows() <= 24);
    std::vector<int32_t> expected;
    for (int64_t i = first; i < next; ++i) {
      const Document document = corpus.document(0, i);
      std::string text = document.prompt + document.response;
      const size_t from = std::max<size_t>(document.prompt.size(), 1);
      for (size_t t = from; t < text.size(); ++t) expected.push_back(byte_id(text[t]));
      if (!text.empty()) expected.push_back(kEnd);
    }
    CHECK(batches.batch().target == expected);
    CHECK(first == expected_next);
    expected_next = next;
    CHECK(next > first);
  }
  // Inputs are shifted by one: the row before the first response token is the prompt's last.
  int64_t index = 7;  // "ppp=" + "rr"
  DocumentBatches small(corpus, *tokenizer, 0, 6);
  small.build(index);
  CHECK(index == 8);
  const ForwardBatch view = small.batch().packed.view();
  const std::vector<TokenId> input(view.tokens.begin(), view.tokens.end());
  CHECK(input == std::vector<TokenId>{byte_id('p'), byte_id('p'), byte_id('p'), byte_id('='),
                                      byte_id('r'), byte_id('r')});
  CHECK(small.batch().target == std::vector<int32_t>{byte_id('r'), byte_id('r'), kEnd});
}

TEST_CASE("pretraining lowers the loss and leaves a checkpoint that loads") {
  TemporaryFolder folder;
  PretrainConfig config = tiny_pretrain();
  config.steps = 60;
  const StageSummary summary = pretrain(config, folder.path() / "run", false);
  std::vector<double> losses;
  for_each_json_line(folder.path() / "run" / "metrics.jsonl", [&](const Json& row, int64_t) {
    losses.push_back(row.at("loss").get<double>());
  });
  REQUIRE(losses.size() == 60);
  CHECK(losses.front() > 4.5);  // about log 264
  CHECK(losses.back() < 2);
  CHECK(summary.loss == losses.back());
  const fs::path latest = folder.path() / "run" / "checkpoints" / "latest";
  CHECK(Policy::load(latest)->config().vocab_size == 264);
  CHECK(load_tokenizer(latest)->eos_ids() == std::vector<TokenId>{kEnd});
}

TEST_CASE("pretraining: same bytes again, with other threads, and after interruption") {
  TemporaryFolder folder;
  const PretrainConfig config = tiny_pretrain();
  const int before = num_threads();
  set_num_threads(1);
  pretrain(config, folder.path() / "a", false);
  set_num_threads(3);
  pretrain(config, folder.path() / "b", false);
  set_num_threads(before);
  const auto straight = kept(folder.path() / "a");
  CHECK(straight == kept(folder.path() / "b"));

  const std::atomic<bool> stop{true};
  const fs::path broken = folder.path() / "c";
  CHECK(pretrain(config, broken, false, &stop).interrupted);
  CHECK(pretrain(read_pretrain_config(broken / "config.json", {}), broken, true, &stop).steps == 2);
  pretrain(config, broken, true);
  CHECK(straight == kept(broken));

  PretrainConfig other = config;
  other.batch_tokens = 300;
  CHECK_THROWS_WITH_AS(pretrain(other, broken, true), doctest::Contains("batch_tokens"), Error);
  CHECK_THROWS_WITH_AS(pretrain(config, broken, false), doctest::Contains("--resume"), Error);
}

TEST_CASE("a pretraining config names exactly one start") {
  TemporaryFolder folder;
  const fs::path file = folder.path() / "config.json";
  write_file_atomic(file, R"({"model": "a", "model_config": "b"})");
  CHECK_THROWS_WITH_AS(read_pretrain_config(file, {}), doctest::Contains("exactly one"), Error);
  write_file_atomic(file, R"({"model_config": "b"})");
  CHECK_THROWS_WITH_AS(read_pretrain_config(file, {}), doctest::Contains("tokenizer"), Error);
  write_file_atomic(file, R"({"model": "a", "stepz": 5})");
  CHECK_THROWS_WITH_AS(read_pretrain_config(file, {}), doctest::Contains("steps"), Error);
}
