// The subcommands. Each takes the arguments after its name and returns the exit code; results go to
// stdout, everything else to stderr. Errors are thrown as zeroth::Error and printed by main.
#pragma once

#include <string>
#include <vector>

namespace zeroth {

// Weak while commands are still being added: main leaves out what is not linked.
#define ZEROTH_COMMAND __attribute__((weak))

using Args = std::vector<std::string>;

ZEROTH_COMMAND int run_bench(const Args& args);
ZEROTH_COMMAND int run_check(const Args& args);
ZEROTH_COMMAND int run_demo(const Args& args);
ZEROTH_COMMAND int run_describe(const Args& args);
ZEROTH_COMMAND int run_eval(const Args& args);
ZEROTH_COMMAND int run_export(const Args& args);
ZEROTH_COMMAND int run_grade(const Args& args);
ZEROTH_COMMAND int run_init(const Args& args);
ZEROTH_COMMAND int run_inspect(const Args& args);
ZEROTH_COMMAND int run_pretrain(const Args& args);
ZEROTH_COMMAND int run_rescore(const Args& args);
ZEROTH_COMMAND int run_sample(const Args& args);
ZEROTH_COMMAND int run_score(const Args& args);
ZEROTH_COMMAND int run_task(const Args& args);
ZEROTH_COMMAND int run_tokenize(const Args& args);
ZEROTH_COMMAND int run_traces(const Args& args);
ZEROTH_COMMAND int run_train(const Args& args);
ZEROTH_COMMAND int run_upcycle(const Args& args);

// Parts of `zeroth check`.
ZEROTH_COMMAND int run_check_code(const Args& args);
ZEROTH_COMMAND int run_check_losses(const Args& args);
ZEROTH_COMMAND int run_check_math(const Args& args);
ZEROTH_COMMAND int run_check_parity(const Args& args);
ZEROTH_COMMAND int run_check_tokenizer(const Args& args);

}  // namespace zeroth
