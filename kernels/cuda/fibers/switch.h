// Moves the processor from one stack to another. By hand where the calling convention is known:
// ucontext asks the system about signals at every switch.
#pragma once

#include <cstddef>
#include <cstdint>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace zeroth::fibers {

#if defined(__x86_64__)

// Saves where this stack stands to *from and goes on where `to` stood.
extern "C" void zeroth_switch_stack(void** from, void* to);
asm(R"(
.text
.type zeroth_switch_stack, @function
zeroth_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size zeroth_switch_stack, .-zeroth_switch_stack
)");

inline void switch_stack(void** from, void* to) { zeroth_switch_stack(from, to); }

// A stack on which `start` begins when it is switched to. It must not return.
inline void* new_stack(char* memory, size_t bytes, void (*start)()) {
  // At a function's first instruction the stack holds where to return to, 8 bytes below a multiple
  // of 16.
  auto* top = reinterpret_cast<uint64_t*>(reinterpret_cast<uintptr_t>(memory + bytes) / 16 * 16);
  *--top = 0;
  *--top = reinterpret_cast<uint64_t>(start);
  for (int i = 0; i < 6; ++i) *--top = 0;
  return top;
}

#else

// The contexts lie on the stacks themselves: their lowest bytes, and the caller's own.
inline void switch_stack(void** from, void* to) {
  ucontext_t here;
  *from = &here;
  swapcontext(&here, static_cast<ucontext_t*>(to));
}
inline void* new_stack(char* memory, size_t bytes, void (*start)()) {
  auto* context = reinterpret_cast<ucontext_t*>(memory);
  getcontext(context);
  context->uc_stack.ss_sp = memory + sizeof(ucontext_t);
  context->uc_stack.ss_size = bytes - sizeof(ucontext_t);
  context->uc_link = nullptr;
  makecontext(context, start, 0);
  return context;
}

#endif

}  // namespace zeroth::fibers
