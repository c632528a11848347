#include "cli/features.h"

#include "kernels/isa.h"
#include "tasks/parquet_rows.h"
#include "tasks/task.h"

namespace zeroth {
namespace {

#ifdef ZEROTH_WITH_GLOO
constexpr char kRanks[] = "gloo";
#else
constexpr char kRanks[] = "none";
#endif

}  // namespace

std::string features() {
  std::string text = "instruction sets";
  for (const std::string& isa : kernels::supported_isas()) text += " " + isa;
  text += std::string("; ranks ") + kRanks + "; task carriers";
  for (const TaskInfo& task : list_tasks()) {
    if (starts_plugin(task.name, {})) text += " " + task.name;
  }
  return text + "; files jsonl gz zst" + (has_parquet() ? " parquet" : "");
}

}  // namespace zeroth
