// `zeroth pretrain`: a base checkpoint from a procedural corpus, new or resumed.
#include "stages/pretrain.h"

#include "cli/stage_command.h"

namespace zeroth {

int run_pretrain(const Args& args) {
  return run_stage_command<PretrainConfig>("pretrain", args, read_pretrain_config, pretrain);
}

}  // namespace zeroth
