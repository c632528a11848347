// Trains a small reward model on pairs and writes it as TorchScript, which the plug-in reads:
//   train_reward PAIRS.jsonl REWARD.pt [EPOCHS]
// A row is that of `zeroth dpo`: {"prompt", "chosen", "rejected"}, texts. The loss is that of Bradley
// and Terry, -log sigmoid(r(chosen) - r(rejected)) (InstructGPT, arXiv 2203.02155, equation 1). One
// row in five is held out, and the share of those that the model orders rightly is printed.
#include <ATen/Parallel.h>
#include <torch/script.h>
#include <torch/torch.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "encode.h"

namespace {

constexpr int64_t kMaxBytes = 2048, kWidth = 32, kHidden = 64, kWindow = 5;

using Inputs = std::pair<torch::Tensor, torch::Tensor>;
struct Pair {
  Inputs chosen, rejected;
};

std::vector<Pair> read_pairs(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path);
  std::vector<Pair> pairs;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    try {
      const auto row = nlohmann::json::parse(line);
      const auto prompt = row.at("prompt").get<std::string>();
      const auto inputs = [&](const char* side) {
        return torch_reward::encode(prompt, row.at(side).get<std::string>(), kMaxBytes);
      };
      pairs.push_back({inputs("chosen"), inputs("rejected")});
    } catch (const nlohmann::json::exception& e) {
      throw std::runtime_error(path + ":" + std::to_string(number) + ": " + e.what());
    }
  }
  if (pairs.size() < 10) throw std::runtime_error(path + " has fewer than 10 pairs");
  return pairs;
}

// Bytes, a window of five of them, the mean and the largest of each feature, one number.
torch::jit::Module make_model() {
  torch::jit::Module model("Reward");
  const auto weight = [&](const char* name, at::IntArrayRef shape, double deviation) {
    model.register_parameter(name, (torch::randn(shape) * deviation).requires_grad_(), false);
  };
  weight("embedding", {256, kWidth}, 0.3);
  weight("filter", {kHidden, kWidth, kWindow}, 0.08);
  weight("filter_bias", {kHidden}, 0);
  weight("head", {2 * kHidden}, 0.05);
  model.define(R"(
def forward(self, ids, mask):
    x = torch.embedding(self.embedding, ids).transpose(1, 2)
    x = torch.gelu(torch.conv1d(x, self.filter, self.filter_bias, padding=2)) * mask.unsqueeze(1)
    mean = x.sum(2) / mask.sum(1, keepdim=True)
    return torch.matmul(torch.cat([mean, x.amax(2)], 1), self.head)
)");
  return model;
}

torch::Tensor reward(torch::jit::Module& model, const Inputs& inputs) {
  return model.forward({inputs.first, inputs.second}).toTensor();
}

void train(torch::jit::Module& model, const std::vector<Pair>& pairs, int epochs) {
  std::vector<torch::Tensor> weights;
  for (const auto& parameter : model.parameters()) weights.push_back(parameter);
  torch::optim::AdamW optimizer(weights, torch::optim::AdamWOptions(3e-3));
  constexpr int64_t kBatch = 8;
  for (int epoch = 0; epoch < epochs; ++epoch) {
    const auto order = torch::randperm(static_cast<int64_t>(pairs.size()));
    for (int64_t begin = 0; begin < order.numel(); begin += kBatch) {
      optimizer.zero_grad();
      const int64_t end = std::min(begin + kBatch, order.numel());
      for (int64_t i = begin; i < end; ++i) {
        const Pair& pair = pairs[order[i].item<int64_t>()];
        const auto margin = reward(model, pair.chosen) - reward(model, pair.rejected);
        (-torch::log_sigmoid(margin).sum() / (end - begin)).backward();
      }
      optimizer.step();
    }
  }
}

double ordered_rightly(torch::jit::Module& model, const std::vector<Pair>& pairs) {
  const torch::NoGradGuard no_gradients;
  int right = 0;
  for (const Pair& pair : pairs) {
    right += (reward(model, pair.chosen) > reward(model, pair.rejected)).item<bool>();
  }
  return static_cast<double>(right) / static_cast<double>(pairs.size());
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 3 && argc != 4) {
    std::fputs("usage: train_reward PAIRS.jsonl REWARD.pt [EPOCHS]\n", stderr);
    return 2;
  }
  at::set_num_threads(1);
  torch::manual_seed(1);
  std::vector<Pair> training, held_out;
  for (auto& pair : read_pairs(argv[1])) {
    ((training.size() + held_out.size()) % 5 == 4 ? held_out : training).push_back(std::move(pair));
  }
  auto model = make_model();
  train(model, training, argc == 4 ? std::atoi(argv[3]) : 4);
  model.eval();
  model.save(argv[2]);
  std::printf("held-out pairs ordered rightly: %.3f of %zu\n", ordered_rightly(model, held_out),
              held_out.size());
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "train_reward: %s\n", e.what());
  return 1;
}
