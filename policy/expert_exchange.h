// Expert parallelism: experts of a mixture that no rank has all of. Rows go to the rank that has
// their expert, and come back; everything else of a model is on every rank.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "kernels/array.h"
#include "policy/forward.h"

namespace zeroth {

class Weights;  // policy/weights.h

// What a rank lets the others use of a model.
struct ExpertHost {
  std::function<std::shared_ptr<const Weights>()> weights;  // published last
  std::function<std::span<const float>()> masters;          // the flat parameters
};

// One call of experts of one layer: rows of the host, sorted by expert.
struct ExpertRows {
  int layer = 0;
  std::span<const int64_t> offsets;  // [experts + 1]
  std::span<const float> rows;       // [n, width]
};
struct ExpertGradientRows : ExpertRows {
  std::span<const float> dout;     // [n, width] gradient of the weighted sum that a row goes into
  std::span<const float> weights;  // [n] of the row in that sum
  std::span<const int64_t> parts;  // [experts, parts] or none; see kernels::choice_parts
};

// A rank's end of it. All ranks make the same models in the same order. Calls about rows may differ
// from rank to rank in every way, their number too: a rank serves the others while it waits, in
// calls of its own or where all ranks meet (ranks/team.h). Not thread safe.
class ExpertExchange {
 public:
  // Which weights compute: all ranks have published the version.
  struct Model {
    int number = 0;
    int64_t version = 0;
  };

  virtual ~ExpertExchange() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  // The experts [begin, end) of a rank, of so many.
  int begin_of(int experts, int rank) const {
    return static_cast<int>(int64_t{experts} * rank / size());
  }
  int end_of(int experts, int rank) const { return begin_of(experts, rank + 1); }

  // The number of a new model, and what the others may use of it; without, nothing any more.
  virtual int add_model() = 0;
  virtual void host(int model, ExpertHost host) = 0;

  // out [n, width]: what each row's expert returns.
  virtual void forward(const Model& model, const ExpertRows& rows, std::span<float> out) = 0;
  // dx [n, width] and dweights [n] (=). The expert weights' gradients are added where their owner
  // collects them; the own ones to `grads`, laid out like the parameters.
  virtual void backward(const Model& model, const ExpertGradientRows& rows,
                        kernels::At<float> grads, std::span<float> dx,
                        std::span<float> dweights) = 0;
  // Masters [begin, begin + out.size()) of the rank that has them.
  virtual void read_masters(int model, int owner, int64_t begin, std::span<float> out) = 0;

  // Where the gradients of another rank's branch are added, laid out like the parameters.
  using Collect = std::function<kernels::View<float>(int rank, int branch)>;
  virtual void collect(Collect collect) = 0;
  // backward() is of this branch from now on; branches ascend until all ranks meet.
  virtual void begin_branch(int branch) = 0;
  // Serves until all ranks are here.
  virtual void meet() = 0;
};

// A model's place in an exchange; none: this process has all experts.
struct ExpertLink {
  std::shared_ptr<ExpertExchange> exchange;
  int model = 0;
};

}  // namespace zeroth
