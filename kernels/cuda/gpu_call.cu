#include <string>

#include "core/error.h"
#include "kernels/cuda/experts.h"
#include "kernels/cuda/gpu.h"
#include "kernels/cuda/gpu_operators.h"

namespace zeroth::kernels::cuda {

std::unique_ptr<const Operators> operators_of_gpu(int index) {
  return std::make_unique<GpuOperators>(index);
}

void refuse_launch(int error) {
  fail(std::string("the GPU refused a kernel: ") +
           cudaGetErrorString(static_cast<cudaError_t>(error)),
       "report this with the name of the GPU and its driver's version");
}

Call::~Call() {
  device_.drop_arrivals();
  for (void* const space : spaces_) device_.give_space(space);
}

RowBounds Call::parts(RowParts parts, int64_t m) {
  std::vector<int64_t> bounds(parts.begin(), parts.end());
  if (bounds.empty()) bounds.push_back(0);
  bounds.push_back(m);
  return {stage(bounds), static_cast<int64_t>(bounds.size()) - 1, m};
}

RowBounds Call::groups(View<const int64_t> offsets) {
  const auto count = static_cast<int64_t>(offsets.size());
  const int64_t* const at = offsets.data().address();
  const size_t bytes = offsets.size() * sizeof(int64_t);
  std::optional<KnownArrays::Numbers> known = device_.known().find(at, bytes);
  if (!known) {
    int64_t rows = 0;
    bring(&rows, at + count - 1, 1);
    wait();
    known = {rows, 0};
    device_.known().note(at, bytes, *known);
  }
  return {at, count - 1, known->first};
}

GroupedWeights Call::grouped(PackedMatrices weights) {
  std::vector<const void*> panels;
  for (const PackedMatrix* w : weights) panels.push_back(w->memory().address());
  const PackedMatrix& first = *weights.front();
  return {stage(panels), static_cast<int64_t>(panels.size()), first.out(), first.in(),
          first.element()};
}

Workspace Call::product_space(int64_t m, int64_t out, int64_t in) {
  const int64_t floats = linear_workspace(m, out, in);
  if (floats == 0) return {};
  return {space<float>(floats), floats};
}

const int32_t* Call::places(View<const int32_t> order) {
  const auto n = static_cast<int64_t>(order.size());
  int32_t* const place = space<int32_t>(n);
  places_of(stream(), order.data().address(), n, place);
  return place;
}

PagedRows Call::rows(const DeviceRows& rows) {
  PagedRows out;
  out.sequence = rows.sequence.data().address();
  out.position = rows.position.data().address();
  out.page_table = rows.page_table.data().address();
  out.page_begin = rows.page_begin.data().address();
  out.count = static_cast<int64_t>(rows.sequence.size());
  out.entries = static_cast<int64_t>(rows.page_table.size());
  out.sequences = static_cast<int64_t>(rows.page_begin.size()) - 1;
  out.window = rows.window;
  if (out.count == 0) return out;
  const size_t bytes = rows.position.size() * sizeof(int32_t);
  std::optional<KnownArrays::Numbers> known = device_.known().find(out.position, bytes);
  if (!known) {
    int64_t survey[2];
    int64_t* const there = space<int64_t>(2);
    survey_rows(stream(), out.sequence, out.position, out.count, there);
    bring(survey, there, 2);
    wait();
    known = {survey[0], survey[1]};
    device_.known().note(out.position, bytes, *known);
  }
  out.longest = known->first;
  out.in_runs = 2 * known->second > out.count;
  return out;
}

}  // namespace zeroth::kernels::cuda
