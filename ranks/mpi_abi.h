// What ranks/mpi_transport.cc uses of Open MPI's ABI (libmpi.so.40): handles are pointers.
#pragma once

namespace zeroth::mpi_abi {

inline constexpr int kSuccess = 0;
inline constexpr int kThreadSerialized = 2;
inline constexpr int kMostError = 257, kMostVersion = 257;  // bytes of a text, with its end
inline void* const kInPlace = reinterpret_cast<void*>(1);
inline void* const kStatusesIgnore = nullptr;

using Init = int(int* argc, char*** argv, int wanted, int* provided);
using Initialized = int(int* flag);
using CommNumber = int(void* comm, int* number);
using SetErrorHandler = int(void* comm, void* handler);
using Send = int(const void* bytes, int count, void* type, int to, int tag, void* comm,
                 void** request);
using Receive = int(void* bytes, int count, void* type, int from, int tag, void* comm,
                    void** request);
using TestAll = int(int count, void** requests, int* done, void* statuses);
using AllReduce = int(const void* in, void* out, int count, void* type, void* op, void* comm,
                      void** request);
using ErrorText = int(int code, char* text, int* length);
using VersionText = int(char* text, int* length);
using Finalize = int();

}  // namespace zeroth::mpi_abi
