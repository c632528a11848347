#include "kernels/cuda/gpu_device.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <string>
#include <utility>

#include "core/error.h"

namespace zeroth::kernels::cuda {
namespace {

constexpr size_t kPinnedBytes = size_t{8} << 20;
constexpr size_t kPinnedStep = 256;  // where copies begin

size_t step_up(size_t n) { return (n + kPinnedStep - 1) / kPinnedStep * kPinnedStep; }

}  // namespace

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  fail(std::string("the GPU failed ") + what + ": " + cudaGetErrorString(error),
       "run on the CPU (--device cpu), and report this with the name of the GPU and its driver's "
       "version");
}

int gpu_count() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) {
    fail(std::string("no GPU can be used: ") + cudaGetErrorString(error),
         "install NVIDIA's driver for CUDA 13.0 or newer (nvidia-smi shows it), or run on the CPU: "
         "--device cpu");
  }
  if (count == 0) fail("the driver has no GPU", "run on the CPU: --device cpu");
  return count;
}

GpuDevice::GpuDevice(int index) : index_(index) {
  const int count = gpu_count();
  if (index < 0 || index >= count) {
    fail("there is no GPU " + std::to_string(index) + ": the driver has " + std::to_string(count),
         "they are numbered from 0, as nvidia-smi shows them");
  }
  check(cudaSetDevice(index), "to start");
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "to start a stream");
  for (Pinned* pinned : {&inputs_, &results_}) {
    void* memory = nullptr;
    check(cudaMallocHost(&memory, kPinnedBytes), "to pin memory of the host");
    pinned->memory = static_cast<char*>(memory);
  }
}

GpuDevice::~GpuDevice() {
  cudaSetDevice(index_);
  cudaStreamSynchronize(stream_);
  drop_graphs();
  cache_.trim();
  cudaFreeHost(inputs_.memory);
  cudaFreeHost(results_.memory);
  cudaStreamDestroy(stream_);
}

void* GpuDevice::Segments::take(size_t n) {
  void* memory = nullptr;
  if (cudaMalloc(&memory, n) != cudaSuccess) {
    cudaGetLastError();  // a failure that is no launch's
    return nullptr;
  }
  return memory;
}
// Waits for all work, as the driver does.
void GpuDevice::Segments::give(void* segment) { cudaFree(segment); }

std::unique_lock<std::recursive_mutex> GpuDevice::use() const {
  std::unique_lock lock(mutex_);
  check(cudaSetDevice(index_), "to be used");
  return lock;
}

void* GpuDevice::allocate(size_t bytes) const {
  const auto lock = use();
  if (bytes > SIZE_MAX - kBehindArray) throw std::bad_alloc();
  void* const memory = cache_.take(bytes + kBehindArray);
  if (!memory) throw std::bad_alloc();
  sizes_[memory] = bytes;
  if (recording_) recording_->lasting = false;
  renew(stream_, memory, bytes);
  return memory;
}

// Work on the array may still be queued; whoever gets the block next queues his behind it.
void GpuDevice::release(void* memory) const {
  const std::lock_guard lock(mutex_);
  if (recording_) {
    recording_->lasting = false;
  } else {
    drop_graphs();  // they may name it
  }
  give_back(memory);
}

void GpuDevice::give_back(void* memory) const {
  const auto it = sizes_.find(memory);
  if (it == sizes_.end()) std::abort();  // not ours, or released before
  retire(stream_, memory, it->second);
  known_.forget(memory, it->second);
  sizes_.erase(it);
  cache_.give(memory);
}

void GpuDevice::copy_in(void* to, const void* from, size_t bytes) const {
  if (bytes == 0) return;
  const auto lock = use();
  known_.forget(to, bytes);
  if (recording_) {  // read again at every replay
    char* const through = recording_->pin(bytes);
    if (!through) throw std::bad_alloc();
    std::memcpy(through, from, bytes);
    return check(cudaMemcpyAsync(to, through, bytes, cudaMemcpyHostToDevice, stream_),
                 "to copy from the host");
  }
  for (size_t done = 0; done < bytes;) {
    if (inputs_.used == kPinnedBytes) wait();
    const size_t part = std::min(bytes - done, kPinnedBytes - inputs_.used);
    char* const through = inputs_.memory + inputs_.used;
    std::memcpy(through, static_cast<const char*>(from) + done, part);
    check(cudaMemcpyAsync(static_cast<char*>(to) + done, through, part, cudaMemcpyHostToDevice,
                          stream_),
          "to copy from the host");
    inputs_.used = std::min(kPinnedBytes, step_up(inputs_.used + part));
    done += part;
  }
}

void GpuDevice::bring(void* to, const void* from, size_t bytes) const {
  const auto lock = use();
  refuse_in_recording();
  for (size_t done = 0; done < bytes;) {
    if (results_.used == kPinnedBytes) wait();
    const size_t part = std::min(bytes - done, kPinnedBytes - results_.used);
    char* const through = results_.memory + results_.used;
    check(cudaMemcpyAsync(through, static_cast<const char*>(from) + done, part,
                          cudaMemcpyDeviceToHost, stream_),
          "to copy to the host");
    arrivals_.push_back({static_cast<char*>(to) + done, through, part});
    results_.used = std::min(kPinnedBytes, step_up(results_.used + part));
    done += part;
  }
}

void GpuDevice::refuse_in_recording() const {
  if (recording_) {
    recording_->waits = true;
    fail("an operator that answers in memory of the host, in a stretch that is replayed",
         "leave it out of the stretch");
  }
}

void GpuDevice::wait() const {
  const auto lock = use();
  refuse_in_recording();
  const std::vector<Arrival> arrivals = std::exchange(arrivals_, {});
  inputs_.used = results_.used = 0;
  check(cudaStreamSynchronize(stream_), "at work");
  for (const Arrival& a : arrivals) std::memcpy(a.to, a.from, a.bytes);
}

void GpuDevice::copy_out(void* to, const void* from, size_t bytes) const {
  if (bytes == 0) return;
  const auto lock = use();
  bring(to, from, bytes);
  wait();
}

void GpuDevice::clear(void* at, size_t bytes) const {
  if (bytes == 0) return;
  const auto lock = use();
  known_.forget(at, bytes);
  check(cudaMemsetAsync(at, 0, bytes, stream_), "to clear memory");
}

size_t GpuDevice::arrays() const {
  const std::lock_guard lock(mutex_);
  return sizes_.size();
}
size_t GpuDevice::bytes_in_use() const {
  const std::lock_guard lock(mutex_);
  return cache_.bytes_in_use();
}
size_t GpuDevice::bytes_held() const {
  const std::lock_guard lock(mutex_);
  return cache_.bytes_held();
}

}  // namespace zeroth::kernels::cuda
