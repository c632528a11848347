// Inside of policy/: what a model with image codes computes around the layers. Embedding rows and
// head rows are chosen by token here; the layers see rows like any others.
//
// A guided model (ImageCodes::guided) computes every row twice: as it is, and as it would be behind
// a prompt of padding, in pages of its own. Who calls forward sees neither these rows nor their
// pages. A row that comes before text is left as the final norm gives it. One that comes before a
// code is left as the features that the last matrix of gen_head reads: that matrix is linear, so
// guidance between logits is guidance between features,
//   u + w (c - u) = W (w f(c) + (1 - w) f(u)) + b,   f(x) = gelu(projector x),
// and what is drawn, scored and differentiated goes through one fused head as text does.
#pragma once

#include <span>
#include <vector>

#include "kernels/operators.h"
#include "model/image_codes.h"
#include "policy/forward.h"
#include "policy/weights.h"

namespace zeroth {

struct Architecture;
struct Pass;
struct PublishedImages;
struct PublishedModel;
class EmbeddingGradient;

// Fills what follows from the weights: the table of embeddings and the head with its bias.
void derive_images(const Architecture& architecture, PublishedImages& images);
// Columns of PublishedImages::with_bias.
int64_t bias_in(const ImageCodes& codes);

// Architecture::image_constants; empty without codes.
std::vector<float> image_constants(const PolicyConfig& config, const ImageCodes& codes);

// A list of indices that host and operators read.
class IndexList {
 public:
  std::vector<int32_t> host;
  kernels::View<const int32_t> put(const kernels::Device& device) {
    return staged_.put(device, std::span<const int32_t>(host));
  }
  int64_t size() const { return static_cast<int64_t>(host.size()); }

  // The first n of a list that is all zeros, or that counts up, and nothing else; it grows.
  kernels::View<const int32_t> zeros(int64_t n, const kernels::Device& device) {
    return grown(n, 0, device);
  }
  kernels::View<const int32_t> ascending(int64_t n, const kernels::Device& device) {
    return grown(n, 1, device);
  }

 private:
  kernels::View<const int32_t> grown(int64_t n, int32_t step, const kernels::Device& device) {
    while (size() < n) host.push_back(static_cast<int32_t>(size()) * step);
    return put(device).subspan(0, static_cast<size_t>(n));
  }

  kernels::Staged<int32_t> staged_;
};

// The rows of one call. Not thread safe.
class ImageRows {
 public:
  explicit ImageRows(const kernels::Device& device) : device_(device) {}

  // What the layers compute in place of `batch`. Rows without a prompt stand behind the others of
  // their part, and have their pages `pages` behind. Valid until the next call.
  ForwardBatch put(const Architecture& architecture, const ForwardBatch& batch, int64_t pages);
  int64_t rows() const { return static_cast<int64_t>(tokens_.size()); }  // of that
  kernels::At<float> normed(int64_t floats) { return normed_.get(floats); }

  // Pass: of the rows of put. x [rows(), width] =
  void embed(const Pass& pass, kernels::At<float> x);
  // From the final norm [rows(), width] to hidden [batch rows, hidden_width].
  void finish(const Pass& pass, kernels::At<const float> normed, kernels::At<float> hidden);
  // Backward of finish, x_last being what the final norm read: dnormed [rows(), width] =, gradients
  // of the projector +=.
  void finish_backward(const Pass& pass, kernels::At<const float> x_last,
                       kernels::At<const float> dhidden, kernels::At<float> dnormed);
  // Backward of embed: gradients of both embeddings and of the aligner +=; `apart` as in
  // Policy::backward.
  void embed_backward(const Pass& pass, kernels::At<const float> dx, EmbeddingGradient* apart);

 private:
  void clear();
  void lay_rows(const ForwardBatch& batch);
  void lay_pages(const ForwardBatch& batch, int32_t behind);
  void list_row(int32_t at, TokenId token);
  void list_features(const std::vector<int32_t>& number, int64_t begin, int64_t end);
  void list_sources(int64_t batch_rows);
  // [features, 2 head_width] the projector's output, and ones
  kernels::At<float> gate(const Pass& pass, kernels::At<const float> rows);

  const kernels::Device& device_;
  ImageCodes codes_;
  std::vector<TokenId> tokens_;
  std::vector<int32_t> positions_, sequence_, page_table_, page_begin_;
  std::vector<kernels::KvWrite> writes_;
  std::vector<int64_t> parts_, code_parts_, feature_parts_;
  std::vector<int32_t> own_, twin_;  // [batch rows] where each stands among the rows
  // Into the residual stream: text and codes, then where a row lies behind both.
  IndexList text_in_, text_ids_, codes_in_, code_ids_, embed_from_;
  // Out of it. text_at: rows before text, text_out: the same in the batch; features_: rows before
  // codes, part by part; cond_at_, uncond_at_: where the two of one lie there; feature_from_: the
  // other way round, those without a prompt behind all others; image_out_: in the batch.
  IndexList text_at_, text_out_, features_, cond_at_, uncond_at_, feature_from_, image_out_;
  IndexList hidden_from_, zeros_, ascending_;
  kernels::Array<float> normed_{device_}, table_{device_}, taken_{device_}, gate_{device_};
  kernels::Array<float> acts_{device_}, mixed_{device_}, other_{device_}, dgate_{device_};
  kernels::Array<float> narrow_{device_};
};

}  // namespace zeroth
