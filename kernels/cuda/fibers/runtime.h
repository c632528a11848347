// What the back end uses of the CUDA runtime (kernels/cuda/runtime.h), over fibers: one device,
// whose memory the host cannot touch, and streams whose work is done when somebody waits for it and
// not before. So what is read too early or overwritten too early shows. Thread safe.
#pragma once

#include <cstddef>
#include <functional>

#include "kernels/cuda/stream.h"

// The names are CUDA's.
enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidDevice = 101,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorLaunchFailure = 719
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2 };
inline constexpr unsigned cudaStreamNonBlocking = 1;

const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaSetDevice(int device);
// Errors of earlier launches come with cudaStreamSynchronize.
cudaError_t cudaGetLastError();
cudaError_t cudaMalloc(void** memory, size_t bytes);
cudaError_t cudaFree(void* memory);
cudaError_t cudaMallocHost(void** memory, size_t bytes);
cudaError_t cudaFreeHost(void* memory);
cudaError_t cudaMemGetInfo(size_t* left, size_t* all);
cudaError_t cudaStreamCreateWithFlags(CUstream_st** stream, unsigned flags);
cudaError_t cudaStreamDestroy(CUstream_st* stream);
cudaError_t cudaStreamSynchronize(CUstream_st* stream);
// From memory of cudaMallocHost the bytes are read when the copy is done, and to it they are
// written then; other memory is read at once, and waited for when it is written.
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            CUstream_st* stream);
cudaError_t cudaMemsetAsync(void* at, int value, size_t bytes, CUstream_st* stream);

// Between begin and end of a capture the stream's work is only noted; who waits for it fails.
enum cudaStreamCaptureMode { cudaStreamCaptureModeRelaxed = 2 };
using cudaGraph_t = struct CUgraph_st*;
using cudaGraphExec_t = struct CUgraphExec_st*;
cudaError_t cudaStreamBeginCapture(CUstream_st* stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(CUstream_st* stream, cudaGraph_t* graph);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph,
                                 unsigned long long flags);
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, CUstream_st* stream);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec);

namespace zeroth::fibers {

// Part of the stream's work from now on.
void enqueue(CUstream_st* stream, std::function<void()> work);
// For memory of cudaMalloc, in the order of the stream: nobody may touch it from then on; or it is
// an array of its own, of unwritten values.
void retire(CUstream_st* stream, void* at, size_t bytes);
void renew(CUstream_st* stream, void* at, size_t bytes);
// How much cudaMalloc has to give from now on (by default, all of the arena).
void set_device_bytes(size_t bytes);

}  // namespace zeroth::fibers
