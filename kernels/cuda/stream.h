// The order in which launches run on a device.
#pragma once

struct CUstream_st;

namespace zeroth::kernels::cuda {

// cudaStream_t. Null: the device's own. Launches of one stream run in order.
using Stream = CUstream_st*;

}  // namespace zeroth::kernels::cuda
