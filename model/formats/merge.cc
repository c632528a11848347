#include "model/formats/merge.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "model/layout.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

struct Part {
  fs::path path;
  OpenModel model;
  double weight = 0;
};

std::string shape_of(const ParameterInfo& info) {
  std::string out;
  for (const int64_t n : info.shape) out += (out.empty() ? "" : " x ") + std::to_string(n);
  return out;
}

// Names and shapes are those of the first.
void check_same(const std::vector<ParameterInfo>& first, const fs::path& first_path,
                const std::vector<ParameterInfo>& other, const fs::path& path) {
  for (size_t i = 0; i < std::max(first.size(), other.size()); ++i) {
    if (i < first.size() && i < other.size() && first[i].name == other[i].name &&
        first[i].shape == other[i].shape) {
      continue;
    }
    const auto told = [&](const std::vector<ParameterInfo>& infos) {
      return i < infos.size() ? infos[i].name + " [" + shape_of(infos[i]) + "]" : "no such tensor";
    };
    fail_usage(path.string() + " has another shape than " + first_path.string() + ": " +
                   told(other) + " where the other has " + told(first),
               "merge checkpoints of one base only");
  }
}

std::vector<double> shares(size_t models, const MergeOptions& options) {
  std::vector<double> weights = options.weights;
  if (weights.empty())
    weights.assign(models, options.base.empty() ? 1.0 : 1.0 / static_cast<double>(models));
  if (weights.size() != models) {
    fail_usage(
        std::to_string(weights.size()) + " weights for " + std::to_string(models) + " models",
        "give one weight a model, or none");
  }
  for (const double weight : weights) {
    if (!std::isfinite(weight)) fail_usage("a weight is not finite", "give finite weights");
  }
  if (!options.base.empty()) return weights;
  double sum = 0;
  for (const double weight : weights) sum += weight;
  if (sum == 0 || !std::isfinite(sum)) {
    fail_usage(std::string("the weights of an average add up to ") +
                   (sum == 0 ? "0" : "more than a double holds"),
               "give weights with another sum");
  }
  for (double& weight : weights) weight /= sum;
  return weights;
}

}  // namespace

ModelValues merge(const std::vector<fs::path>& models, const MergeOptions& options) {
  if (models.empty()) fail_usage("no model to merge", "name at least one checkpoint");
  if (!options.adapter.empty() && models.size() != 1) {
    fail_usage("an adapter, and " + std::to_string(models.size()) + " models",
               "give the one model that it belongs to");
  }
  const bool arithmetic = !options.base.empty();
  const std::vector<double> weights = shares(models.size(), options);
  std::vector<Part> parts;
  for (size_t i = 0; i < models.size(); ++i) {
    parts.push_back({models[i], open_model(models[i], options.adapter), weights[i]});
  }
  const fs::path& first_path = arithmetic ? options.base : models[0];
  const OpenModel first = open_model(first_path);
  ModelValues out{first.config, Parameters(make_layout(first.config).infos)};
  const auto& infos = out.parameters.infos();
  for (const Part& part : parts) {
    check_same(infos, first_path, make_layout(part.model.config).infos, part.path);
  }
  std::vector<std::pair<size_t, int64_t>> pieces;  // tensor, first value
  for (size_t i = 0; i < infos.size(); ++i) {
    const int64_t row = infos[i].shape.size() > 1 ? infos[i].count / infos[i].shape[0] : 1;
    const int64_t step = std::max<int64_t>(kReadPiece / std::max<int64_t>(row, 1), 1) * row;
    for (int64_t at = 0; at < infos[i].count; at += step) pieces.emplace_back(i, at);
  }
  parallel_in_order(static_cast<int64_t>(pieces.size()), [&](int64_t p) {
    const auto [i, at] = pieces[p];
    const bool last = p + 1 == static_cast<int64_t>(pieces.size()) || pieces[p + 1].first != i;
    const int64_t n = (last ? infos[i].count : pieces[p + 1].second) - at;
    const std::span<float> target = out.parameters.view(infos[i]).subspan(at, n);
    std::vector<float> values(n), base(n, 0.0f);
    if (arithmetic) first.source->read(i, at, base);
    std::vector<double> sum(base.begin(), base.end());
    for (const Part& part : parts) {
      part.model.source->read(i, at, values);
      for (int64_t k = 0; k < n; ++k) {
        sum[k] += part.weight * (static_cast<double>(values[k]) - static_cast<double>(base[k]));
      }
    }
    for (int64_t k = 0; k < n; ++k) {
      target[k] = static_cast<float>(sum[k]);
      if (std::isfinite(target[k])) continue;
      fail("value " + std::to_string(at + k) + " of " + infos[i].name + " comes to " +
               std::to_string(sum[k]) + ", which is no finite float32",
           "give smaller weights, or look for the model that holds such values");
    }
  });
  return out;
}

}  // namespace zeroth
