// The operators of the forward and backward pass, on row-major float32 matrices in host memory.
//
// The numeric contract (docs/numerics.md): in every forward operator each output row is a pure
// function of its own input row, the weights and its absolute position; never of the number of
// rows, the other rows, the layout of pages, the number of threads or the instruction set. Backward
// operators are deterministic for a given batch, whatever the number of threads and the instruction
// set. Operators write only their outputs, never block on anything but their own threads
// (core/parallel.h), and may be called from one thread at a time. Shapes are in brackets; `ld*` is
// the distance between rows in floats.
#pragma once

#include "kernels/assemble.h"
#include "kernels/attention.h"
#include "kernels/delta.h"
#include "kernels/isa.h"
#include "kernels/matmul.h"
#include "kernels/moe.h"
#include "kernels/optimizer.h"
#include "kernels/rows.h"
#include "kernels/saved_rows.h"
