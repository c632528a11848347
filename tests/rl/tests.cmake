add_test(NAME rl/kill_resume
         COMMAND ${PROJECT_SOURCE_DIR}/tests/rl/kill_resume.sh $<TARGET_FILE:zeroth> 4
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(rl/kill_resume PROPERTIES TIMEOUT 900)
# The same with a curriculum, whose state must survive too, and with rewards for the shape of responses.
add_test(NAME rl/kill_resume_curriculum
         COMMAND ${PROJECT_SOURCE_DIR}/tests/rl/kill_resume.sh $<TARGET_FILE:zeroth> 3
                 curriculum.mode=prioritised shaping.repetition_weight=0.5 shaping.repetition_ngram=2
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(rl/kill_resume_curriculum PROPERTIES TIMEOUT 900)
# Partial rollouts: what a token budget has set aside.
add_test(NAME rl/kill_resume_budget
         COMMAND ${PROJECT_SOURCE_DIR}/tests/rl/kill_resume.sh $<TARGET_FILE:zeroth> 3
                 --moves=sampling/groups_set_aside async.token_budget=6 curriculum.mode=prioritised
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(rl/kill_resume_budget PROPERTIES TIMEOUT 900)
# Samples of several turns, with an environment in a process of its own; in one process and with workers.
set(turns task.name=process "task.options={\"command\":[\"python3\",\"tests/rl/turns_plugin.py\"],\"workers\":2}"
          advantage.supervision=turns sampling.max_tokens=40 steps=24)
add_test(NAME rl/kill_resume_turns
         COMMAND ${PROJECT_SOURCE_DIR}/tests/rl/kill_resume.sh $<TARGET_FILE:zeroth> 3 ${turns} async.lag=1
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
add_test(NAME rl/fleet_turns
         COMMAND ${PROJECT_SOURCE_DIR}/tests/rl/fleet_train.sh $<TARGET_FILE:zeroth> 2 4 1 ${turns} engine.record_experts=true fleet.audit_rate=0.5
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(rl/kill_resume_turns rl/fleet_turns PROPERTIES TIMEOUT 900)
# With an adapter in place of the weights, and an entropy coefficient that moves.
# PEFT itself reads an adapter of ours; skipped where it is not installed.
add_test(NAME rl/peft_reads COMMAND python3 ${PROJECT_SOURCE_DIR}/tests/rl/peft_reads.py $<TARGET_FILE:zeroth>
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(rl/peft_reads PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)
add_test(NAME rl/kill_resume_lora
         COMMAND ${PROJECT_SOURCE_DIR}/tests/rl/kill_resume.sh $<TARGET_FILE:zeroth> 3
                 lora.rank=2 lora.alpha=4 loss.entropy_target=3 loss.entropy_coef=0.01 trainer.optimizer_reset=5
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(rl/kill_resume_lora PROPERTIES TIMEOUT 900)
# The same over a base in fewer bits, with a reference that is that base, and one that is refreshed.
add_test(NAME rl/kill_resume_lora_q8_0
         COMMAND ${PROJECT_SOURCE_DIR}/tests/rl/kill_resume.sh $<TARGET_FILE:zeroth> 3
                 lora.rank=2 lora.alpha=4 lora.base=q8_0 loss.beta=0.05)
add_test(NAME rl/kill_resume_lora_bfloat16
         COMMAND ${PROJECT_SOURCE_DIR}/tests/rl/kill_resume.sh $<TARGET_FILE:zeroth> 2
                 lora.rank=2 lora.base=bfloat16 policy.weights=bfloat16 loss.beta=0.05 trainer.reference_refresh=7)
add_test(NAME rl/adapters COMMAND ${PROJECT_SOURCE_DIR}/tests/rl/adapters.sh $<TARGET_FILE:zeroth> 3 q8_0)
set_tests_properties(rl/kill_resume_lora_q8_0 rl/kill_resume_lora_bfloat16 rl/adapters PROPERTIES
                     WORKING_DIRECTORY ${PROJECT_SOURCE_DIR} TIMEOUT 900)
# With groups of earlier steps in the update, which checkpoints keep. The base answers at once or thinks, so groups of two
# agree in every second step or so.
add_test(NAME rl/kill_resume_replay
         COMMAND ${PROJECT_SOURCE_DIR}/tests/rl/kill_resume.sh $<TARGET_FILE:zeroth> 4 --moves=replay/groups
                 model=models/parity "task.options={\"bits\":32}" sampling.stop=[] sampling.max_tokens=44 overlong.buffer=0
                 samples_per_prompt=2 replay.share=0.5 replay.max_age=3 replay.uses=2
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(rl/kill_resume_replay PROPERTIES TIMEOUT 900)
# Images as codes, guided; in one process and with workers that are audited.
set(images model=models/drawings task.name=draw "task.options={\"rows\":3}" sampling.stop=[] sampling.max_tokens=9
           overlong.buffer=0 steps=40)
add_test(NAME rl/kill_resume_images
         COMMAND ${PROJECT_SOURCE_DIR}/tests/rl/kill_resume.sh $<TARGET_FILE:zeroth> 3 ${images}
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
add_test(NAME rl/fleet_images
         COMMAND ${PROJECT_SOURCE_DIR}/tests/rl/fleet_train.sh $<TARGET_FILE:zeroth> 2 4 1 ${images} fleet.audit_rate=0.5
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(rl/kill_resume_images rl/fleet_images PROPERTIES TIMEOUT 900)
# Programs, children of a plug-in and an inspector beside the trainer change nothing.
add_test(NAME rl/kill_resume_programs
         COMMAND ${PROJECT_SOURCE_DIR}/tests/rl/kill_resume.sh $<TARGET_FILE:zeroth> 3 --programs
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(rl/kill_resume_programs PROPERTIES TIMEOUT 900)
# What happens to RUN/checkpoints/latest between a stop and a resumption must not cost a checkpoint.
foreach(command train pretrain sft)
  add_test(NAME rl/lost_latest_${command}
           COMMAND ${PROJECT_SOURCE_DIR}/tests/rl/lost_latest.sh $<TARGET_FILE:zeroth> ${command}
           WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(rl/lost_latest_${command} PROPERTIES TIMEOUT 900)
endforeach()
# Samples from worker processes: the same bytes as in one process, through kills.
foreach(workers 1 2 4)
  add_test(NAME rl/fleet_${workers}
           COMMAND ${PROJECT_SOURCE_DIR}/tests/rl/fleet_train.sh $<TARGET_FILE:zeroth> ${workers} 8 2
           WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(rl/fleet_${workers} PROPERTIES TIMEOUT 900)
endforeach()
# The same through a proxy that cuts, delays, throttles, leaves half open and flips bytes.
add_test(NAME rl/fleet_faults
         COMMAND python3 ${PROJECT_SOURCE_DIR}/tests/rl/fleet_faults.py $<TARGET_FILE:zeroth> 40
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(rl/fleet_faults PROPERTIES TIMEOUT 900)
# Sampling ahead of training, in one process and with workers: the bytes depend on the lag alone.
add_test(NAME rl/fleet_lag
         COMMAND ${PROJECT_SOURCE_DIR}/tests/rl/fleet_train.sh $<TARGET_FILE:zeroth> 2 6 2 async.lag=2 trainer.router_replay=true
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
add_test(NAME rl/kill_resume_lag
         COMMAND ${PROJECT_SOURCE_DIR}/tests/rl/kill_resume.sh $<TARGET_FILE:zeroth> 4 async.lag=2 curriculum.mode=prioritised trainer.router_replay=true
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(rl/fleet_lag rl/kill_resume_lag PROPERTIES TIMEOUT 900)
# Elastic sampling through kills, made again from its journal: equal bytes.
add_test(NAME rl/elastic_replay
         COMMAND ${PROJECT_SOURCE_DIR}/tests/rl/elastic_replay.sh $<TARGET_FILE:zeroth> 24 4 async.switch_in_flight=true
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
add_test(NAME rl/elastic_fleet
         COMMAND ${PROJECT_SOURCE_DIR}/tests/rl/elastic_replay.sh $<TARGET_FILE:zeroth> 20 3 --fleet 2 async.switch_in_flight=true trainer.router_replay=true
         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(rl/elastic_replay rl/elastic_fleet PROPERTIES TIMEOUT 900)
zeroth_fuzzer(journal ${PROJECT_SOURCE_DIR}/fuzz/fuzz_journal.cc zeroth_rl)
# Several ranks on 127.0.0.1: the same bytes for any number, through kills; what cannot be one job is refused.
if(ZEROTH_GLOO)
  function(ranks_test name)
    add_test(NAME rl/ranks_${name} COMMAND python3 ${PROJECT_SOURCE_DIR}/tests/rl/ranks.py $<TARGET_FILE:zeroth> ${ARGN}
             WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
    set_tests_properties(rl/ranks_${name} PROPERTIES TIMEOUT 900)
  endfunction()
  ranks_test(dense bits dense loss.beta=0.05 trainer.inner_epochs=2)
  ranks_test(moe bits moe trainer.router_aux_coef=0.01 policy.weights=bfloat16 trainer.router_replay=true)
  ranks_test(mla bits mla trainer.router_bias_rate=0.001 loss.entropy_coef=0.01)
  ranks_test(dense_bfloat16 bits dense policy.weights=bfloat16)
  ranks_test(moe_float32 bits moe)
  ranks_test(budget bits moe async.token_budget=6 dynamic_sampling.max_rounds=0)
  ranks_test(mla_bfloat16 bits mla policy.weights=bfloat16)
  ranks_test(fleet fleet moe policy.weights=bfloat16)
  ranks_test(lora bits moe lora.rank=2 lora.alpha=4)
  ranks_test(lora_q8_0 bits moe lora.rank=2 lora.base=q8_0 loss.beta=0.05)
  ranks_test(experts bits moe ranks.expert_parallel=true loss.beta=0.05 trainer.reference_refresh=2 trainer.router_aux_coef=0.01)
  ranks_test(experts_bfloat16 bits mla ranks.expert_parallel=true policy.weights=bfloat16 trainer.recompute=true)
  ranks_test(kills kills 4)
  ranks_test(kills_experts kills 3 ranks.expert_parallel=true)
  ranks_test(refuse refuse)
  # What it measures it compares first: the weights of 3 ranks and of one process.
  add_test(NAME rl/ranks_bench COMMAND zeroth bench --config tests/data/tiny_base/config.json --ranks 3 --rounds 1 --prompts 3 --samples 2
           --tokens 8 WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  add_test(NAME rl/ranks_bench_experts COMMAND zeroth bench --config tests/data/tiny_base/config.json --ranks 2 --rounds 1 --prompts 3
           --samples 2 --tokens 8 --expert-parallel true WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(rl/ranks_bench_experts PROPERTIES TIMEOUT 300 PASS_REGULAR_EXPRESSION "2 ranks; seconds of a step")
  set_tests_properties(rl/ranks_bench PROPERTIES TIMEOUT 300 PASS_REGULAR_EXPRESSION "3 ranks; seconds of a step")
  # Each launcher, real where it is installed, starts `zeroth train` unchanged.
  foreach(launcher slurm mpirun torchrun kubernetes)
    add_test(NAME rl/launcher_${launcher}
             COMMAND python3 ${PROJECT_SOURCE_DIR}/tests/rl/launchers.py $<TARGET_FILE:zeroth> ${launcher}
             WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
    set_tests_properties(rl/launcher_${launcher} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 900)
  endforeach()
endif()
