#include "kernels/cuda/fibers/runtime.h"

#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "kernels/cuda/fibers/block.h"

using Work = std::deque<std::function<void()>>;
struct CUgraph_st {
  Work work;
};
struct CUgraphExec_st {
  Work work;
};
struct CUstream_st {
  Work work;
  CUgraph_st* capture = nullptr;  // gets the work instead
};

namespace {

using namespace zeroth::fibers;

std::recursive_mutex everything;  // fibers are of one thread at a time
std::set<CUstream_st*> streams;
std::map<void*, size_t> segments, pinned;
std::multimap<size_t, void*> freed;  // segments: the arena does not take them back
size_t device_bytes = kArenaBytes / 2, used = 0;

using Lock = std::lock_guard<std::recursive_mutex>;

// After a fault nothing is done any more, as on a device.
cudaError_t drain(CUstream_st* stream) {
  const Lock lock(everything);
  if (stream->capture) return cudaErrorStreamCaptureUnsupported;
  const OpenMemory open;
  while (!stream->work.empty()) {
    const std::function<void()> next = std::move(stream->work.front());
    stream->work.pop_front();
    if (!faulty()) next();
  }
  return faulty() ? cudaErrorLaunchFailure : cudaSuccess;
}

bool is_pinned(const void* at) {
  const Lock lock(everything);
  auto it = pinned.upper_bound(const_cast<void*>(at));
  if (it == pinned.begin()) return false;
  --it;
  return static_cast<const char*>(at) < static_cast<const char*>(it->first) + it->second;
}

}  // namespace

namespace zeroth::fibers {

void enqueue(CUstream_st* stream, std::function<void()> work) {
  const Lock lock(everything);
  (stream->capture ? stream->capture->work : stream->work).push_back(std::move(work));
}
void retire(CUstream_st* stream, void* at, size_t bytes) {
  enqueue(stream, [at, bytes] { set_allocated(at, bytes, false); });
}
void renew(CUstream_st* stream, void* at, size_t bytes) {
  enqueue(stream, [at, bytes] { set_allocated(at, bytes, true); });
}
void set_device_bytes(size_t bytes) { device_bytes = bytes; }

}  // namespace zeroth::fibers

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorLaunchFailure:
      return "unspecified launch failure";
  }
  return "unrecognized error code";
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : cudaErrorInvalidDevice; }
cudaError_t cudaGetLastError() { return cudaSuccess; }

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  const Lock lock(everything);
  hide_memory();
  if (used + bytes > device_bytes) return cudaErrorMemoryAllocation;
  const auto it = freed.find(bytes);
  if (it != freed.end()) {
    *memory = it->second;
    freed.erase(it);
  } else {
    *memory = reserve(bytes);
  }
  segments[*memory] = bytes;
  used += bytes;
  return cudaSuccess;
}

cudaError_t cudaFree(void* memory) {
  const Lock lock(everything);
  if (!memory) return cudaSuccess;
  const auto it = segments.find(memory);
  if (it == segments.end()) return cudaErrorInvalidValue;
  cudaError_t error = cudaSuccess;
  for (CUstream_st* stream : streams) {
    if (drain(stream) != cudaSuccess) error = cudaErrorLaunchFailure;
  }
  set_allocated(memory, it->second, false);
  freed.emplace(it->second, memory);
  used -= it->second;
  segments.erase(it);
  return error;
}

cudaError_t cudaMallocHost(void** memory, size_t bytes) {
  const Lock lock(everything);
  *memory = std::malloc(bytes);
  if (!*memory) return cudaErrorMemoryAllocation;
  pinned[*memory] = bytes;
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* memory) {
  const Lock lock(everything);
  for (CUstream_st* stream : streams) drain(stream);
  if (pinned.erase(memory) == 0) return cudaErrorInvalidValue;
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* left, size_t* all) {
  const Lock lock(everything);
  *left = used < device_bytes ? device_bytes - used : 0;
  *all = device_bytes;
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(CUstream_st** stream, unsigned) {
  const Lock lock(everything);
  *stream = new CUstream_st;
  streams.insert(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(CUstream_st* stream) {
  const Lock lock(everything);
  const cudaError_t error = drain(stream);
  streams.erase(stream);
  delete stream;
  return error;
}
cudaError_t cudaStreamSynchronize(CUstream_st* stream) { return drain(stream); }

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            CUstream_st* stream) {
  if (kind == cudaMemcpyDeviceToHost) {
    enqueue(stream, [to, from, bytes] {
      if (check_copy(from, bytes, true)) std::memcpy(to, from, bytes);
    });
    return is_pinned(to) ? cudaSuccess : drain(stream);
  }
  const auto copy = [to, bytes](const void* source) {
    if (!check_copy(to, bytes, false)) return;
    std::memcpy(to, source, bytes);
    mark_written(to, bytes);
  };
  if (is_pinned(from)) {
    enqueue(stream, [copy, from] { copy(from); });
  } else {
    const auto* const first = static_cast<const char*>(from);
    enqueue(stream,
            [copy, values = std::vector<char>(first, first + bytes)] { copy(values.data()); });
  }
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* at, int value, size_t bytes, CUstream_st* stream) {
  enqueue(stream, [at, value, bytes] {
    if (!check_copy(at, bytes, false)) return;
    std::memset(at, value, bytes);
    mark_written(at, bytes);
  });
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(CUstream_st* stream, cudaStreamCaptureMode) {
  const Lock lock(everything);
  if (stream->capture) return cudaErrorStreamCaptureUnsupported;
  stream->capture = new CUgraph_st;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(CUstream_st* stream, cudaGraph_t* graph) {
  const Lock lock(everything);
  if (!stream->capture) return cudaErrorInvalidValue;
  *graph = std::exchange(stream->capture, nullptr);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  *exec = new CUgraphExec_st{graph->work};
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, CUstream_st* stream) {
  const Lock lock(everything);
  for (const std::function<void()>& work : exec->work) enqueue(stream, work);
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}
