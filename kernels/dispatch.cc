// Which instruction set the operators use.
#include <atomic>
#include <cstdlib>

#include "core/error.h"
#include "kernels/cpu/table.h"
#include "kernels/ops.h"

namespace zeroth::kernels {
namespace {

std::vector<const Table*> supported_tables() {
  std::vector<const Table*> tables;
#ifdef ZEROTH_X86_64
  // The sets that kernels/library.cmake compiles for, all of them; the compiler's test includes the
  // system's support.
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
    tables.push_back(&avx512_table());
  }
  if (avx2) tables.push_back(&avx2_table());
#endif
#ifdef ZEROTH_AARCH64
  tables.push_back(&neon_table());  // a part of every 64-bit Arm processor that runs Linux
#endif
  tables.push_back(&portable_table());
  return tables;
}

const Table* find(const std::string& name, const std::string& source) {
  std::string known;
  for (const Table* candidate : supported_tables()) {
    if (name == candidate->name) return candidate;
    known += (known.empty() ? "" : ", ") + std::string(candidate->name);
  }
  fail_usage(source + " is '" + name + "', which this processor or build does not have",
             "use one of: " + known);
}

std::atomic<const Table*>& chosen() {
  static std::atomic<const Table*> table = [] {
    const char* name = std::getenv("ZEROTH_ISA");
    return name && *name ? find(name, "ZEROTH_ISA") : supported_tables().front();
  }();
  return table;
}

}  // namespace

const Table& table() { return *chosen().load(std::memory_order_relaxed); }

std::string isa() { return table().name; }

void set_isa(const std::string& name) { chosen().store(find(name, "the instruction set")); }

std::vector<std::string> supported_isas() {
  std::vector<std::string> names;
  for (const Table* candidate : supported_tables()) names.push_back(candidate->name);
  return names;
}

}  // namespace zeroth::kernels
