// The subcommands. Each takes the arguments after its name and returns the exit code; results go to
// stdout, everything else to stderr. Errors are thrown as zeroth::Error and printed by main.
#pragma once

#include <string>
#include <vector>

namespace zeroth {

using Args = std::vector<std::string>;

int run_bench(const Args& args);
int run_check(const Args& args);
int run_demo(const Args& args);
int run_describe(const Args& args);
int run_doctor(const Args& args);
int run_dpo(const Args& args);
int run_eval(const Args& args);
int run_ladder(const Args& args);
int run_export(const Args& args);
int run_fleet(const Args& args);
int run_grade(const Args& args);
int run_init(const Args& args);
int run_inspect(const Args& args);
int run_merge(const Args& args);
int run_pipeline(const Args& args);
int run_pretrain(const Args& args);
int run_reject(const Args& args);
int run_rescore(const Args& args);
int run_sample(const Args& args);
int run_score(const Args& args);
int run_serve(const Args& args);
int run_sft(const Args& args);
int run_task(const Args& args);
int run_tinker(const Args& args);
int run_tokenize(const Args& args);
int run_traces(const Args& args);
int run_train(const Args& args);
int run_upcycle(const Args& args);
int run_worker(const Args& args);

// `zeroth grade --kind code`.
int run_grade_code(const Args& args);

// Parts of `zeroth check`.
int run_check_advantages(const Args& args);
int run_check_backends(const Args& args);
int run_check_code(const Args& args);
int run_check_dpo(const Args& args);
int run_check_lora(const Args& args);
int run_check_losses(const Args& args);
int run_check_math(const Args& args);
int run_check_parity(const Args& args);
int run_check_ranks(const Args& args);
int run_check_sft(const Args& args);
int run_check_tokenizer(const Args& args);

}  // namespace zeroth
