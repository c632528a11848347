// A GPU's memory and its stream of work.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "kernels/cuda/block_cache.h"
#include "kernels/cuda/graphs.h"
#include "kernels/cuda/known_arrays.h"
#include "kernels/cuda/runtime.h"
#include "kernels/device.h"

namespace zeroth::kernels::cuda {

// Throws Error, which says what the GPU failed at, unless `error` is success.
void check(cudaError_t error, const char* what);
// How many GPUs the driver has. Throws Error where there is no driver, or none.
int gpu_count();

// One GPU: a stream, on which everything is done in order, a cache of memory blocks, and pinned
// memory that copies pass through. The host waits for copies out only; errors of earlier work come
// up there. Thread safe.
class GpuDevice final : public Device {
 public:
  // Throws Error where there is no such GPU.
  explicit GpuDevice(int index);
  ~GpuDevice() override;
  std::string name() const override { return "cuda:" + std::to_string(index_); }
  bool in_host_memory() const override { return false; }
  void* allocate(size_t bytes) const override;
  void release(void* memory) const override;
  void copy_in(void* to, const void* from, size_t bytes) const override;
  void copy_out(void* to, const void* from, size_t bytes) const override;
  void clear(void* at, size_t bytes) const override;

  // --- for its operators, while they hold use()
  // Nobody else touches the device; this thread's CUDA calls are for it.
  std::unique_lock<std::recursive_mutex> use() const;
  Stream stream() const { return stream_; }
  // Memory of one operator's call. Ends with the call, of which work may still be queued.
  void* take_space(size_t bytes) const;
  void give_space(void* memory) const;
  // calls(), which queue work, or, when they were made with this key before, what they queued then.
  // Stretches that wait are queued anew every time, and none is remembered when an array is released.
  void replay(const std::vector<uint64_t>& key, const std::function<void()>& calls) const;
  // How often replay() queued, recorded and replayed.
  struct Replays {
    int64_t queued = 0, recorded = 0, replayed = 0;
  };
  Replays replays() const;
  // As copy_out, but the bytes arrive with the next wait() (or before).
  void bring(void* to, const void* from, size_t bytes) const;
  // Until everything so far is done.
  void wait() const;
  // What was to be brought and has not arrived never does.
  void drop_arrivals() const { arrivals_.clear(); }
  KnownArrays& known() const { return known_; }
  // Arrays that live here now, and the bytes that they take and that the GPU gave for them.
  size_t arrays() const;
  size_t bytes_in_use() const;
  size_t bytes_held() const;

 private:
  struct Segments final : BlockCache::Source {
    void* take(size_t bytes) override;
    void give(void* segment) override;
  };
  // Pinned memory of the host, used front to back until the next wait().
  struct Pinned {
    char* memory = nullptr;
    size_t used = 0;
  };
  struct Arrival {
    void* to;
    const char* from;  // in results_
    size_t bytes;
  };

  void give_back(void* memory) const;
  void refuse_in_recording() const;
  void drop_graphs() const;
  void record(const std::vector<uint64_t>& key, const std::function<void()>& calls) const;

  const int index_;
  Stream stream_ = nullptr;
  mutable std::recursive_mutex mutex_;
  mutable Segments segments_;
  mutable BlockCache cache_{segments_};
  mutable std::map<void*, size_t> sizes_;  // of arrays
  mutable Pinned inputs_, results_;
  mutable std::vector<Arrival> arrivals_;
  mutable KnownArrays known_;
  struct Stretches {
    std::unique_ptr<Graph> graph;  // null: met once
    bool waits = false;            // cannot be recorded
  };
  mutable std::map<std::vector<uint64_t>, Stretches> graphs_;
  mutable RecordedSpaces recorded_spaces_{cache_};
  mutable std::map<void*, size_t> spaces_;  // of them, in use
  mutable Graph* recording_ = nullptr;
  mutable Replays replays_;
};

}  // namespace zeroth::kernels::cuda
