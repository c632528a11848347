// Stretches of work that a stream was given once and is given again as a whole: CUDA graphs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "kernels/cuda/block_cache.h"
#include "kernels/cuda/known_arrays.h"
#include "kernels/cuda/runtime.h"

namespace zeroth::kernels::cuda {

// One recorded stretch, and what its copies from the host read.
class Graph {
 public:
  Graph() = default;
  // The stream is done with it.
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  // Pinned memory of the host that lives as long as the graph; null when there is none.
  char* pin(size_t bytes);
  // What the stream recorded becomes what play() gives it. Not null.
  cudaError_t finish(cudaGraph_t recorded);
  cudaError_t play(Stream stream) const { return cudaGraphLaunch(work_, stream); }

  KnownArrays::Log known;  // what the stretch does to the numbers that the host keeps
  bool lasting = true;     // false: arrays came or went while it was recorded
  bool waits = false;      // an operator of the stretch had to ask the device

 private:
  cudaGraphExec_t work_ = nullptr;
  std::vector<char*> pinned_;
  size_t used_ = 0, left_ = 0;  // of the last one
};

// Memory that calls take while they are recorded. Graphs of one stream share it: nothing in it is
// needed behind the graph that wrote it. Not thread safe.
class RecordedSpaces {
 public:
  explicit RecordedSpaces(BlockCache& cache) : cache_(cache) {}
  // As of BlockCache.
  void* take(size_t bytes);
  void give(void* space);
  // All goes back to the cache: no graph uses it any more.
  void clear();

 private:
  BlockCache& cache_;
  std::map<void*, size_t> bytes_;
  std::multimap<size_t, void*> free_;
};

}  // namespace zeroth::kernels::cuda
