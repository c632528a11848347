// Inside of policy/: the head over text and the head over image codes.
#pragma once

#include <span>
#include <vector>

#include "policy/image_rows.h"

namespace zeroth {

// The two heads of a model with image codes, for Weights and Policy. Which of them reads a row is
// written in the row (policy/image_rows.h), so nobody else has to know. Not thread safe.
class TwoHeads {
 public:
  explicit TwoHeads(const kernels::Device& device) : device_(device) {}

  // Each as the function of Weights or Policy that is named so.
  void logprobs(const WeightsImpl& weights, kernels::At<const float> hidden, int64_t m,
                const int32_t* target, const float* temperature,
                std::span<const kernels::KeptSet> kept, float* logprob, float* entropy);
  void sample(const WeightsImpl& weights, kernels::At<const float> hidden, int64_t m,
              const kernels::SampleParams* params, const StreamKey* keys, const uint32_t* position,
              int32_t* token, float* logprob, float* entropy, std::vector<int32_t>* kept);
  void logits(const WeightsImpl& weights, kernels::At<const float> hidden, int64_t m,
              kernels::At<float> out);
  void backward(const WeightsImpl& weights, kernels::At<const float> hidden, int64_t m,
                const int32_t* target, const float* temperature,
                std::span<const kernels::KeptSet> kept, const float* dlogprob,
                const float* dentropy, kernels::At<float> dhidden, kernels::At<float> grads,
                kernels::RowParts parts);

 private:
  // Rows of one head: where they stand in the call, and their targets as that head counts them.
  struct Group {
    bool image = false;
    IndexList rows;
    kernels::At<const float> hidden;
    kernels::Array<float> gathered;
    std::vector<int32_t> target;
    std::vector<float> temperature;
    std::vector<std::vector<int32_t>> shifted;
    std::vector<kernels::KeptSet> kept;
    int64_t size() const { return rows.size(); }
  };
  // Which head reads a row is written in it.
  void split(const WeightsImpl& weights, kernels::At<const float> hidden, int64_t m);
  void aim(const ImageCodes& codes, Group& group, const int32_t* target, const float* temperature,
           std::span<const kernels::KeptSet> kept) const;
  void image_backward(const WeightsImpl& weights, const Group& group,
                      std::span<const float> dlogprob, const float* dentropy,
                      kernels::At<float> dhidden, kernels::At<float> grads,
                      std::span<const int64_t> parts);

  const kernels::Device& device_;
  Group groups_[2];  // text, images
  IndexList from_, ascending_;
  kernels::Array<float> marks_{device_}, drows_{device_}, dhead_{device_}, sum_{device_};
};

}  // namespace zeroth
