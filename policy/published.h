// Inside of policy/: the packed weights of one version, and what all versions share.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernels/operators.h"
#include "model/config.h"
#include "model/layout.h"
#include "model/rope_table.h"
#include "policy/expert_exchange.h"
#include "policy/image_weights.h"
#include "policy/weights.h"

namespace zeroth {

struct PublishedMlp {
  Linear gate_up, down;
};

struct PublishedLayer {
  kernels::View<const float> input_norm, post_norm, attention_out_norm, mlp_out_norm;
  kernels::View<const float> q_norm, k_norm, q_latent_norm, kv_latent_norm;
  kernels::View<const float> sinks, selection_bias, expert_gate_up_bias, expert_down_bias;
  kernels::View<const float> conv, a_log, dt_bias, delta_norm;
  Linear delta_in;
  Linear o, qkv, q_in, q_up, kv_in, kv_up, router, shared_gate;
  PublishedMlp mlp, shared;
  std::vector<PublishedMlp> experts;  // those of other ranks are empty
  std::vector<const kernels::PackedMatrix*> expert_gate_up, expert_down;
};

// What a layer has in place of kv_up where latents are absorbed: by head [nope, kv_rank] and [v,
// kv_rank].
struct PublishedLatents {
  std::vector<Linear> keys, values;
};

// Everything lies in one block: first the matrices in the order in which forward reads them.
struct PublishedModel {
  kernels::Array<char> block;
  kernels::EmbeddingTable embedding;  // when tied the head
  bool tied = false;
  kernels::View<const float> final_norm;
  std::vector<PublishedLayer> layers;
  kernels::PackedMatrix head;
  PublishedImages images;
  // Where experts are that are not here; null: all are.
  std::shared_ptr<ExpertExchange> exchange;
  ExpertExchange::Model place;
  std::vector<PublishedLatents> latents;  // by layer; empty: they are expanded
};

struct Scratch;
class DraftLayer;  // policy/draft_layer.h

// A rotary table for operators.
struct RopeRows {
  RopeRows(const kernels::Device& device, std::shared_ptr<const RopeTable::Rows> rows);

  const std::shared_ptr<const RopeTable::Rows> host;
  kernels::Staged<float> staged_cos, staged_sin;
  kernels::At<const float> cos, sin;  // [positions, dim / 2]
};

// What all versions of a policy's weights share. Thread safe.
struct Architecture {
  Architecture(const PolicyConfig& config, kernels::Element element, const kernels::Operators& ops,
               ExpertLink experts = {}, std::shared_ptr<const DraftLayer> drafts = nullptr);
  ~Architecture();

  const PolicyConfig config;
  const kernels::Element element;  // of the published weights
  const kernels::Operators& ops;
  const Layout layout;
  const ImageCodes codes;
  const CodeLayout images;
  // Rows that features of images are completed from: ones, then [1, 0 .., 1], as many values as
  // hidden_width(config).
  kernels::Array<float> image_constants;
  const RopeTable rope;
  const std::unique_ptr<const RopeTable> local_rope;  // null: config has none
  // Weights of the norms of a gated delta net's keys, then of its queries: constants, each as wide as
  // a key.
  kernels::Array<float> delta_scales;
  const ExpertLink experts;
  const std::shared_ptr<const DraftLayer> drafts;  // null: the checkpoint has none

  // Concurrent calls take one scratch each; a finished call leaves it for the next.
  std::unique_ptr<Scratch> take_scratch() const;
  void leave_scratch(std::unique_ptr<Scratch> scratch) const;
  // A block for the next version: that of the last version which nobody holds any more, or a new
  // one. All are of one size.
  kernels::Array<char> take_block(int64_t bytes) const;
  void leave_block(kernels::Array<char> block) const;
  // The rotary tables, where operators find them. The local one is null where config has none.
  std::shared_ptr<const RopeRows> rope_rows(int64_t positions) const;
  std::shared_ptr<const RopeRows> local_rope_rows(int64_t positions) const;

 private:
  std::shared_ptr<const RopeRows> staged(std::shared_ptr<const RopeTable::Rows> rows,
                                         std::shared_ptr<const RopeRows>& last) const;

  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Scratch>> scratches_;
  mutable kernels::Array<char> spare_;
  mutable std::shared_ptr<const RopeRows> rope_rows_, local_rope_rows_;
};

struct WeightsImpl {
  std::shared_ptr<const Architecture> architecture;
  WeightsVersion version = 0;
  int64_t id = 0;
  PublishedModel model;
  mutable std::once_flag hashed;
  mutable std::string sha256;
};

// Packs the flat buffer `values` (policy/publish.cc); `arrived`: see Policy::publish.
WeightsPtr publish_values(std::shared_ptr<const Architecture> architecture, const float* values,
                          WeightsVersion version,
                          const std::function<void(int64_t end)>& arrived = {});
// The same while a checkpoint is read, so that no second copy is made of it; with `keep` (may be
// null) the flat buffer is filled too.
WeightsPtr publish_from(std::shared_ptr<const Architecture> architecture,
                        const WeightSource& source, float* keep, WeightsVersion version);
// See Weights::sha256.
std::string hash_of(const PublishedModel& model, const Architecture& architecture);
// Whether a parameter is rounded to bfloat16 where that is the element of published weights.
bool published_narrow(const ParameterInfo& info, kernels::Element element);
// One tensor's line of what is hashed there.
std::string tensor_line(const std::string& name, const std::vector<int64_t>& shape, bool narrow,
                        const std::string& sha256);
// Of all lines, in any order.
std::string hash_of_lines(std::vector<std::string> lines);
// use(parameter, first, values) for all values, row-major: those of one parameter in order on one
// thread, parameters on all threads.
void read_published(const WeightsImpl& weights,
                    const std::function<void(size_t, int64_t, std::span<const float>)>& use);

}  // namespace zeroth
