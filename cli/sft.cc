// `zeroth sft`: supervised fine-tuning on rows of a file, new or resumed.
#include "stages/sft.h"

#include "cli/stage_command.h"

namespace zeroth {

int run_sft(const Args& args) {
  return run_stage_command<SftConfig>("sft", args, read_sft_config, sft);
}

}  // namespace zeroth
