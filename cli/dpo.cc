// `zeroth dpo`: learning from pairs of a better and a worse completion, new or resumed.
#include "stages/dpo.h"

#include "cli/stage_command.h"

namespace zeroth {

int run_dpo(const Args& args) {
  return run_stage_command<DpoConfig>("dpo", args, read_dpo_config, dpo);
}

}  // namespace zeroth
