// Recording and replaying of the back end's work (kernels/cuda/graphs.h).
#include <algorithm>

#include "core/error.h"
#include "kernels/cuda/gpu_operators.h"
#include "kernels/cuda/graphs.h"

namespace zeroth::kernels::cuda {
namespace {

constexpr size_t kPin = size_t{64} << 10;
constexpr size_t kPinStep = 256;     // where copies begin
constexpr size_t kMostGraphs = 256;  // of a device

}  // namespace

Graph::~Graph() {
  if (work_) cudaGraphExecDestroy(work_);
  for (char* const memory : pinned_) cudaFreeHost(memory);
}

char* Graph::pin(size_t bytes) {
  bytes = (bytes + kPinStep - 1) / kPinStep * kPinStep;
  if (bytes > left_) {
    void* memory = nullptr;
    const size_t take = std::max(bytes, kPin);
    if (cudaMallocHost(&memory, take) != cudaSuccess) return nullptr;
    pinned_.push_back(static_cast<char*>(memory));
    used_ = 0, left_ = take;
  }
  char* const at = pinned_.back() + used_;
  used_ += bytes, left_ -= bytes;
  return at;
}

cudaError_t Graph::finish(cudaGraph_t recorded) {
  const cudaError_t error = cudaGraphInstantiate(&work_, recorded, 0);
  cudaGraphDestroy(recorded);
  return error;
}

void* RecordedSpaces::take(size_t bytes) {
  auto found = free_.lower_bound(bytes);
  if (found != free_.end() && found->first <= 2 * bytes) {
    void* const space = found->second;
    free_.erase(found);
    return space;
  }
  void* const space = cache_.take(bytes);
  if (space) bytes_[space] = bytes;
  return space;
}

void RecordedSpaces::give(void* space) { free_.emplace(bytes_.at(space), space); }

void RecordedSpaces::clear() {
  for (const auto& [space, bytes] : bytes_) cache_.give(space);
  bytes_.clear();
  free_.clear();
}

// --- GpuDevice

void GpuDevice::drop_graphs() const {
  if (graphs_.empty()) return;
  const bool some = std::any_of(graphs_.begin(), graphs_.end(),
                                [](const auto& each) { return each.second.graph != nullptr; });
  if (some) cudaStreamSynchronize(stream_);  // what fails comes up at the next wait
  graphs_.clear();
  recorded_spaces_.clear();
}

void GpuDevice::replay(const std::vector<uint64_t>& key, const std::function<void()>& calls) const {
  const auto lock = use();
  if (recording_) fail("a stretch of operators in another one", "report this");
  const auto [it, first] = graphs_.try_emplace(key);
  // The first time arrays may grow; from the second on they are what they stay.
  if (first || it->second.waits) {
    ++replays_.queued;
    return calls();
  }
  if (!it->second.graph) return record(key, calls);
  ++replays_.replayed;
  known_.again(it->second.graph->known);
  check(it->second.graph->play(stream_), "to replay work");
}

void GpuDevice::record(const std::vector<uint64_t>& key, const std::function<void()>& calls) const {
  if (graphs_.size() > kMostGraphs) drop_graphs();
  auto graph = std::make_unique<Graph>();
  check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeRelaxed), "to record work");
  recording_ = graph.get();
  known_.log(&graph->known);
  const auto end = [&] {
    recording_ = nullptr;
    known_.log(nullptr);
    cudaGraph_t recorded = nullptr;
    check(cudaStreamEndCapture(stream_, &recorded), "to record work");
    return recorded;
  };
  try {
    calls();
  } catch (...) {
    cudaGraphDestroy(end());
    if (!graph->waits) throw;
    graphs_[key].waits = true;
    ++replays_.queued;
    return calls();
  }
  ++replays_.recorded;
  check(graph->finish(end()), "to prepare recorded work");
  check(graph->play(stream_), "to replay work");
  const bool lasting = graph->lasting;
  graphs_[key].graph = std::move(graph);
  if (!lasting) drop_graphs();
}

void* GpuDevice::take_space(size_t bytes) const {
  if (!recording_) return allocate(bytes);
  const auto lock = use();
  void* const memory = recorded_spaces_.take(bytes + kBehindArray);
  if (!memory) throw std::bad_alloc();
  renew(stream_, memory, bytes);
  spaces_[memory] = bytes;
  return memory;
}

void GpuDevice::give_space(void* memory) const {
  const auto lock = std::lock_guard(mutex_);
  const auto it = spaces_.find(memory);
  if (it == spaces_.end()) return give_back(memory);
  retire(stream_, memory, it->second);
  known_.forget(memory, it->second);
  spaces_.erase(it);
  recorded_spaces_.give(memory);
}

GpuDevice::Replays GpuDevice::replays() const {
  const auto lock = std::lock_guard(mutex_);
  return replays_;
}

// --- GpuOperators

void GpuOperators::replay(const Stretch& stretch, const std::function<void()>& calls) const {
  const auto lock = device_.use();
  const int32_t* const positions = stretch.positions.data().address();
  const size_t bytes = stretch.positions.size() * sizeof(int32_t);
  if (bytes > 0) device_.known().note(positions, bytes, {stretch.longest, 0});
  std::vector<uint64_t> key = stretch.key;
  key.push_back(reinterpret_cast<uintptr_t>(positions));
  key.push_back(bytes);
  key.push_back(static_cast<uint64_t>(stretch.longest));
  device_.replay(key, calls);
}

}  // namespace zeroth::kernels::cuda
