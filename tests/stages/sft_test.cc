#include "stages/sft.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "core/parallel.h"
#include "model/formats/gguf_model.h"
#include "policy/policy.h"
#include "stages/row_stage.h"
#include "stages/sft_cases.h"
#include "tests/stages/support.h"

using namespace zeroth;
namespace fs = std::filesystem;

namespace {

const fs::path kFixture = "tests/data/sft";

LearntRow row_of(size_t tokens, TokenId first) {
  LearntRow row;
  row.tokens.resize(tokens);
  std::iota(row.tokens.begin(), row.tokens.end(), first);
  row.learnt.assign(tokens, 1);
  return row;
}

// Token ids of packed rows, documents side by side.
std::vector<std::vector<TokenId>> tokens_of(const std::vector<PackedRow>& rows) {
  std::vector<std::vector<TokenId>> out;
  for (const PackedRow& row : rows) {
    out.emplace_back();
    for (const LearntRow& document : row) {
      out.back().insert(out.back().end(), document.tokens.begin(), document.tokens.end());
    }
  }
  return out;
}

SftConfig tiny_sft(const std::string& rows) {
  SftConfig config;
  config.model = kFixture.string();
  config.data.path = (kFixture / rows).string();
  config.seed = 3;
  config.epochs = 3;
  config.batch_rows = 3;
  config.optimizer.lr = 3e-3;
  config.saving.checkpoint_every = 4;
  config.saving.print_every = 0;
  return config;
}

std::string error_of(const SftDataConfig& data) {
  const auto tokenizer = load_tokenizer(kFixture);
  try {
    read_sft_rows(data.path, RowEncoder(data, data.loss_on, PromptConfig{}, *tokenizer), 0,
                  "keep_start");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("rows, packing, losses and gradients are those of TRL") {
  const auto results = evaluate_sft_cases(kFixture);
  CHECK(results.size() == 14);
  for (const SftCaseResult& result : results) {
    CAPTURE(result.name);
    CHECK(result.difference == "");
    CHECK(result.loss_difference < 1e-5);
    CHECK(result.grad_norm_difference < 1e-5);
  }
}

TEST_CASE("packing: the tightest row takes a document, else a new one") {
  const std::vector<LearntRow> rows = {row_of(5, 1), row_of(2, 6), row_of(3, 8), row_of(1, 11)};
  CHECK(tokens_of(pack_rows(rows, "none", 0)).size() == 4);
  CHECK(tokens_of(pack_rows(rows, "bfd", 4)) ==
        std::vector<std::vector<TokenId>>{{1, 2, 3, 4}, {8, 9, 10, 11}, {6, 7}});
  CHECK(tokens_of(pack_rows(rows, "bfd_split", 4)) ==
        std::vector<std::vector<TokenId>>{{1, 2, 3, 4}, {8, 9, 10, 5}, {6, 7, 11}});
  CHECK(tokens_of(pack_rows(rows, "wrapped", 4)) ==
        std::vector<std::vector<TokenId>>{{1, 2, 3, 4}, {5, 6, 7, 8}, {9, 10, 11}});
  CHECK_THROWS_WITH_AS(pack_rows(rows, "bfd", 0), doctest::Contains("max_length"), Error);
}

TEST_CASE("a text without a word is an end token among others, and alone nothing to learn") {
  TemporaryFolder folder;
  SftConfig config = tiny_sft("rows_text.jsonl");
  config.data.path = (folder.path() / "rows.jsonl").string();
  config.epochs = 1;
  write_file_atomic(config.data.path, R"({"text": "a"}
{"text": ""}
{"text": "b"}
)");
  const auto tokenizer = load_tokenizer(kFixture);
  const RowEncoder encoder(config.data, "auto", PromptConfig{}, *tokenizer);
  const EncodedRows rows = read_sft_rows(config.data.path, encoder, 0, "");
  CHECK(rows.targets == 2);
  CHECK(tokens_of(pack_rows(rows.rows, "wrapped", 8)) ==
        std::vector<std::vector<TokenId>>{{67, 2, 2, 68, 2}});
  CHECK(sft(config, folder.path() / "run", false).num_tokens == 4);
  write_file_atomic(config.data.path, "{\"text\": \"\"}\n");
  CHECK_THROWS_WITH_AS(sft(config, folder.path() / "none", false),
                       doctest::Contains("rows.jsonl:1"), Error);
}

TEST_CASE("rows that are not cut all stay for packing; a run leaves the idle ones out") {
  TemporaryFolder folder;
  SftConfig config = tiny_sft("rows_text.jsonl");
  config.data.path = (folder.path() / "rows.jsonl").string();
  config.epochs = 1;
  write_file_atomic(config.data.path,
                    R"({"prompt": [{"role": "user", "content": "a"}], "completion": []}
{"prompt": "a", "completion": "b"}
)");
  const auto tokenizer = load_tokenizer(kFixture);
  const RowEncoder encoder(config.data, "completion", PromptConfig{}, *tokenizer);
  CHECK(read_sft_rows(config.data.path, encoder, 0, "").rows.size() == 2);
  CHECK(read_sft_rows(config.data.path, encoder, 64, "").rows.size() == 1);
  config.data.packing = "bfd";
  config.data.max_length = 64;
  CHECK(sft(config, folder.path() / "run", false).num_tokens == 3);
}

TEST_CASE("assistant learns the completion's turns, turns those of the prompt too") {
  TemporaryFolder folder;
  SftDataConfig data;
  data.path = (folder.path() / "rows.jsonl").string();
  write_file_atomic(data.path, R"({"prompt": [{"role": "user", "content": "a"},)"
                               R"( {"role": "assistant", "content": "b"},)"
                               R"( {"role": "user", "content": "c"}],)"
                               R"( "completion": [{"role": "assistant", "content": "d"}]})");
  const auto tokenizer = load_tokenizer(kFixture);
  const auto learnt = [&](const std::string& loss_on) {
    const LearntRow row =
        read_sft_rows(data.path, RowEncoder(data, loss_on, PromptConfig{}, *tokenizer), 0, "")
            .rows.at(0);
    std::vector<TokenId> out;
    for (size_t i = 0; i < row.tokens.size(); ++i) {
      if (row.learnt[i]) out.push_back(row.tokens[i]);
    }
    return out;
  };
  CHECK(learnt("assistant") == std::vector<TokenId>{70, 2});
  CHECK(learnt("turns") == std::vector<TokenId>{68, 2, 70, 2});
}

TEST_CASE("an epoch takes every row once, in an order of its own") {
  std::vector<std::vector<int64_t>> epochs(2);
  RowOrder order(11, 3, true, 5);
  CHECK(order.batches() == 4);
  for (int64_t step = 0; step < 8; ++step) {
    const auto rows = order.of_step(step);
    CHECK(rows.size() == (step % 4 == 3 ? 2u : 3u));
    epochs[step / 4].insert(epochs[step / 4].end(), rows.begin(), rows.end());
  }
  CHECK(epochs[0] != epochs[1]);
  // A step's rows depend on nothing but the step.
  const auto again = order.of_step(1);
  CHECK(std::equal(again.begin(), again.end(), epochs[0].begin() + 3));
  std::vector<int64_t> all(11);
  std::iota(all.begin(), all.end(), 0);
  RowOrder plain(11, 3, false, 5);
  CHECK(std::ranges::equal(plain.of_step(1), std::vector<int64_t>{3, 4, 5}));
  for (auto& epoch : epochs) {
    std::sort(epoch.begin(), epoch.end());
    CHECK(epoch == all);
  }
}

TEST_CASE("a template that does not mark the assistant's text: the same tokens are learnt") {
  TemporaryFolder folder;
  std::string text = read_file(kFixture / "chat_template.jinja");
  for (const char* mark : {"{%- generation %}\n", "{%- endgeneration %}\n"}) {
    const size_t at = text.find(mark);
    REQUIRE(at != std::string::npos);
    text.erase(at, std::string(mark).size());
  }
  write_file_atomic(folder.path() / "plain.jinja", text);
  const auto tokenizer = load_tokenizer(kFixture);
  SftDataConfig data;
  data.path = (kFixture / "rows_messages.jsonl").string();
  const auto marked =
      read_sft_rows(data.path, RowEncoder(data, data.loss_on, PromptConfig{}, *tokenizer), 0, "");
  data.chat_template = (folder.path() / "plain.jinja").string();
  const auto plain =
      read_sft_rows(data.path, RowEncoder(data, data.loss_on, PromptConfig{}, *tokenizer), 0, "");
  REQUIRE(plain.rows.size() == marked.rows.size());
  for (size_t i = 0; i < plain.rows.size(); ++i) {
    CAPTURE(i);
    CHECK(plain.rows[i].tokens == marked.rows[i].tokens);
    CHECK(plain.rows[i].learnt == marked.rows[i].learnt);
  }
}

TEST_CASE("how many tokens a forward call holds changes no bit of loss and gradient") {
  const auto tokenizer = load_tokenizer(kFixture);
  SftDataConfig data;
  data.path = (kFixture / "rows_messages.jsonl").string();
  const RowEncoder encoder(data, data.loss_on, PromptConfig{}, *tokenizer);
  const auto rows = pack_rows(read_sft_rows(data.path, encoder, 0, "").rows, "bfd", 160);
  std::vector<const PackedRow*> all;
  for (const PackedRow& row : rows) all.push_back(&row);
  const auto policy = Policy::load(kFixture);
  std::vector<float> first;
  double loss = 0;
  for (const int64_t tokens : {100000, 300, 16}) {
    Learner learner(*policy, OptimizerConfig{});
    learner.begin();
    const SftLossSum sum = sft_loss_of(learner, all, SftLoss::kNll, tokens, 0, true);
    const auto gradient = learner.reduce();
    if (first.empty()) {
      first.assign(gradient.begin(), gradient.end());
      loss = sum.total;
    }
    CHECK(sum.total == loss);
    CHECK(std::equal(first.begin(), first.end(), gradient.begin(), gradient.end()));
  }
}

TEST_CASE("fine-tuning lowers the loss, held out rows are measured") {
  TemporaryFolder folder;
  SftConfig config = tiny_sft("rows_prompt_completion_text.jsonl");
  config.data.held_out = (kFixture / "rows_prompt_completion_text.jsonl").string();
  config.epochs = 20;
  sft(config, folder.path() / "run", false);
  std::vector<double> measured;
  for (const Json& row : metric_rows(folder.path() / "run")) {
    if (row.contains("eval/loss")) measured.push_back(row.at("eval/loss").get<double>());
  }
  REQUIRE(measured.size() == 2);
  CHECK(measured.front() > 6);
  CHECK(measured.back() < 1);
}

TEST_CASE("fine-tuning: same bytes with other threads and calls, and after interruption") {
  TemporaryFolder folder;
  SftConfig config = tiny_sft("rows_messages.jsonl");
  config.data.packing = "bfd";
  config.data.max_length = 112;
  config.batch_rows = 2;
  const int before = num_threads();
  set_num_threads(1);
  sft(config, folder.path() / "a", false);
  set_num_threads(3);
  config.micro_batch_tokens = 64;
  sft(config, folder.path() / "b", false);
  set_num_threads(before);
  const auto straight = kept(folder.path() / "a");
  CHECK(straight == kept(folder.path() / "b"));

  const std::atomic<bool> stop{true};
  const fs::path broken = folder.path() / "c";
  CHECK(sft(config, broken, false, &stop).interrupted);
  CHECK(sft(read_sft_config(broken / "config.json", {}), broken, true, &stop).steps == 2);
  sft(config, broken, true);
  CHECK(straight == kept(broken));

  SftConfig other = config;
  other.batch_rows = 3;
  CHECK_THROWS_WITH_AS(sft(other, broken, true), doctest::Contains("batch_rows"), Error);
}

TEST_CASE("rows that changed under a run are refused") {
  TemporaryFolder folder;
  SftConfig config = tiny_sft("rows_text.jsonl");
  const std::string rows = read_file(config.data.path);
  config.data.path = (folder.path() / "rows.jsonl").string();
  write_file_atomic(config.data.path, rows);
  const std::atomic<bool> stop{true};
  sft(config, folder.path() / "run", false, &stop);
  write_file_atomic(config.data.path, rows + "{\"text\": \"one more\"}\n");
  CHECK_THROWS_WITH_AS(sft(config, folder.path() / "run", true), doctest::Contains("rows.jsonl"),
                       Error);
}

TEST_CASE("bad rows are named by line") {
  TemporaryFolder folder;
  SftDataConfig data;
  data.path = (folder.path() / "rows.jsonl").string();
  const auto says = [&](const std::string& row, const std::string& loss_on = "auto") {
    data.loss_on = loss_on;
    write_file_atomic(data.path, "{\"text\": \"fine\"}\n" + row + "\n");
    return error_of(data);
  };
  for (const char* row :
       {R"({"question": "1 + 1"})", R"({"prompt": "a"})", R"({"prompt": "a", "completion": 4})",
        R"({"prompt": "a", "completion": [{"role": "assistant", "content": "b"}]})",
        R"({"messages": []})", R"({"messages": "hello"})", R"({"messages": [3]})", R"({"text": 7})",
        R"({"messages": [{"role": "user", "content": "only a question"}]})",
        R"({"messages": [{"role": "user", "content": "a"}], "tools": "{"})", "[1, 2]", "{"}) {
    CAPTURE(row);
    CHECK(says(row).find("rows.jsonl:2") != std::string::npos);
  }
  CHECK(says(R"({"text": "a"})", "completion").find("loss_on") != std::string::npos);
  CHECK(says(R"({"prompt": "a", "completion": "b"})", "assistant").find("loss_on") !=
        std::string::npos);
  write_file_atomic(data.path, "");
  data.loss_on = "auto";
  CHECK(error_of(data).find("none with a token to learn") != std::string::npos);
}
