// What ranks/nccl_transport.cc uses of NCCL's ABI (libnccl.so.2) and of the CUDA driver's
// (libcuda.so.1). Handles are pointers; a stream of the driver is one of the runtime.
#pragma once

#include <cstddef>

namespace zeroth::nccl_abi {

inline constexpr int kSuccess = 0;
inline constexpr int kInProgress = 7;
inline constexpr int kBytes = 0, kFloats = 7;  // ncclInt8, ncclFloat32
inline constexpr int kSum = 0;

// Passed by value.
struct UniqueId {
  char bytes[128];
};

using GetVersion = int(int* version);
using GetUniqueId = int(UniqueId* id);
using InitRank = int(void** comm, int ranks, UniqueId id, int rank);
using CommEnd = int(void* comm);
using AsyncError = int(void* comm, int* error);
using ErrorText = const char*(int code);
using LastError = const char*(void* comm);
using Group = int();
using Send = int(const void* at, size_t count, int type, int to, void* comm, void* stream);
using Receive = int(void* at, size_t count, int type, int from, void* comm, void* stream);
using AllReduce = int(const void* in, void* out, size_t count, int type, int op, void* comm,
                      void* stream);

}  // namespace zeroth::nccl_abi

namespace zeroth::cuda_abi {

inline constexpr int kSuccess = 0;
inline constexpr int kNotReady = 600;
inline constexpr unsigned kNonBlocking = 1;  // a stream that waits for no other

using Address = unsigned long long;  // CUdeviceptr

using Init = int(unsigned flags);
using DeviceCount = int(int* count);
using DeviceOf = int(int* device, int number);
using RetainContext = int(void** context, int device);
using ReleaseContext = int(int device);
using SetContext = int(void* context);
using Allocate = int(Address* at, size_t bytes);
using Free = int(Address at);
using CopyIn = int(Address to, const void* from, size_t bytes, void* stream);
using CopyOut = int(void* to, Address from, size_t bytes, void* stream);
using MakeStream = int(void** stream, unsigned flags);
using StreamCall = int(void* stream);
using ErrorText = int(int code, const char** text);

}  // namespace zeroth::cuda_abi
