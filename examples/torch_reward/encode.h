// What the reward model reads of a response; the trainer and the plug-in share it.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace torch_reward {

// The last `max_bytes` bytes of prompt, line feed, completion: ids int64 [1, n] of 0..255 and a mask
// of ones, float32 [1, n]; n is at least 1. A model with a tokenizer of its own puts it here.
inline std::pair<torch::Tensor, torch::Tensor> encode(std::string_view prompt,
                                                      std::string_view completion,
                                                      int64_t max_bytes) {
  std::string text = std::string(prompt) + "\n" + std::string(completion);
  if (text.size() > static_cast<size_t>(max_bytes)) text.erase(0, text.size() - max_bytes);
  const auto size = static_cast<int64_t>(text.size());
  auto ids = torch::empty({1, size}, torch::kInt64);
  for (int64_t i = 0; i < size; ++i) {
    ids.data_ptr<int64_t>()[i] = static_cast<unsigned char>(text[i]);
  }
  return {ids, torch::ones({1, size})};
}

}  // namespace torch_reward
