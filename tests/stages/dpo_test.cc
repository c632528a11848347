#include "stages/dpo.h"

#include <doctest/doctest.h>

#include "core/error.h"
#include "core/parallel.h"
#include "stages/preference_cases.h"
#include "tests/stages/support.h"

using namespace zeroth;
namespace fs = std::filesystem;

namespace {

DpoConfig tiny_dpo() {
  DpoConfig config;
  config.model = "tests/data/sft";
  config.data.path = "tests/data/dpo/pairs.jsonl";
  config.seed = 3;
  config.epochs = 4;
  config.batch_rows = 4;
  config.optimizer.lr = 2e-3;
  config.saving.checkpoint_every = 3;
  config.saving.print_every = 0;
  return config;
}

double loss_of(const PreferenceLossConfig& config, std::vector<std::vector<float>> logprobs) {
  return preference_loss(config, {logprobs[0], logprobs[1], logprobs[2], logprobs[3]}, 3, 7).loss;
}

}  // namespace

TEST_CASE("losses, gradients and rewards of pairs are those of TRL") {
  int compared = 0, left = 0;
  for (const auto& result : evaluate_preference_cases("tests/data/dpo/cases.jsonl")) {
    CAPTURE(result.id);
    CAPTURE(result.name);
    if (!result.not_computed.empty()) {
      ++left;
      continue;
    }
    ++compared;
    CHECK(result.loss_difference < 1e-6);
    CHECK(result.gradient_difference < 1e-6);
    CHECK(result.reward_difference < 1e-6);
  }
  CHECK(compared == 52);
  CHECK(left == 25);
}

TEST_CASE("gradients of pairs agree with differences") {
  const std::vector<std::vector<float>> at = {
      {-1.5f, -0.25f, -2.0f}, {-0.75f, -1.25f}, {-1.0f, -0.5f, -1.75f}, {-1.0f, -1.5f}};
  for (const char* type : {"sigmoid", "sigmoid_norm", "ipo", "hinge", "robust"}) {
    for (const char* divergence :
         {"reverse_kl", "forward_kl", "js_divergence", "alpha_divergence"}) {
      CAPTURE(type);
      CAPTURE(divergence);
      PreferenceLossConfig config;
      config.type = type;
      config.f_divergence = divergence;
      config.beta = 0.5;
      config.ld_alpha = 0.25;
      config.label_smoothing = 0.1;
      config.sft_weight = 0.5;
      const auto result = preference_loss(config, {at[0], at[1], at[2], at[3]}, 3, 7);
      for (int side = 0; side < 2; ++side) {
        const auto& grad = side == 0 ? result.grad_chosen : result.grad_rejected;
        for (size_t t = 0; t < grad.size(); ++t) {
          constexpr float kStep = 0x1p-10f;
          auto up = at, down = at;
          up[side][t] += kStep;
          down[side][t] -= kStep;
          const double slope = (loss_of(config, up) - loss_of(config, down)) / (2 * kStep);
          CHECK(grad[t] == doctest::Approx(slope).epsilon(1e-4));
        }
      }
    }
  }
}

TEST_CASE("pairs: the first step is at the reference, and the better completion gains") {
  TemporaryFolder folder;
  DpoConfig config = tiny_dpo();
  config.epochs = 20;
  config.data.held_out = config.data.path;
  dpo(config, folder.path() / "run", false);
  const auto rows = metric_rows(folder.path() / "run");
  CHECK(rows.front().at("loss").get<double>() == doctest::Approx(std::log(2.0)).epsilon(1e-12));
  CHECK(rows.front().at("rewards/margin") == 0.0);
  CHECK(rows.front().at("eval/rewards/margin") == 0.0);
  CHECK(rows.back().at("eval/rewards/accuracy") == 1.0);
  CHECK(rows.back().at("eval/loss").get<double>() < 0.4);
}

TEST_CASE("pairs: same bytes with other threads and calls, and after interruption") {
  TemporaryFolder folder;
  DpoConfig config = tiny_dpo();
  const int before = num_threads();
  set_num_threads(1);
  dpo(config, folder.path() / "a", false);
  set_num_threads(3);
  config.micro_batch_tokens = 32;
  dpo(config, folder.path() / "b", false);
  set_num_threads(before);
  const auto straight = kept(folder.path() / "a");
  CHECK(straight.count("reference_logprobs.bin") == 1);
  CHECK(straight == kept(folder.path() / "b"));

  const std::atomic<bool> stop{true};
  const fs::path broken = folder.path() / "c";
  CHECK(dpo(config, broken, false, &stop).interrupted);
  CHECK(dpo(read_dpo_config(broken / "config.json", {}), broken, true, &stop).steps == 2);
  dpo(config, broken, true);
  CHECK(straight == kept(broken));
}

TEST_CASE("bad pairs are named by line") {
  TemporaryFolder folder;
  DpoConfig config = tiny_dpo();
  config.data.path = (folder.path() / "pairs.jsonl").string();
  const std::string fine = R"({"prompt": "a", "chosen": "b", "rejected": "c"})";
  for (const char* row :
       {R"({"prompt": "a", "chosen": "b"})", R"({"chosen": "b", "rejected": "c"})",
        R"({"prompt": "a", "chosen": "b", "rejected": 4})",
        R"({"prompt": "a", "chosen": [], "rejected": "c"})"}) {
    CAPTURE(row);
    write_file_atomic(config.data.path, fine + "\n" + row + "\n");
    CHECK_THROWS_WITH_AS(dpo(config, folder.path() / "run", false),
                         doctest::Contains("pairs.jsonl:2"), Error);
    fs::remove_all(folder.path() / "run");
  }
}
