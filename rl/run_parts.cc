#include "rl/run_parts.h"

#include <cstdio>
#include <string>
#include <utility>

#include "core/error.h"
#include "core/terminal.h"
#include "model/formats/gguf_model.h"
#include "model/image_codes.h"
#include "rl/chat.h"
#include "rl/same_inputs.h"
#include "rl/shared_sampler.h"
#include "rollout/local_sampler.h"
#include "rollout/roofline.h"

namespace zeroth {
namespace {

Vocabulary vocabulary_of(const Tokenizer& tokenizer) {
  Vocabulary vocabulary;
  for (TokenId id = 0; id < tokenizer.vocab_size(); ++id)
    vocabulary.push_back(tokenizer.token_bytes(id));
  return vocabulary;
}

// What readers of the run need to know besides its config.
Json run_info_of(const RunConfig& config, const PolicyConfig& model) {
  Json info = {{"task", {{"name", config.task.name}, {"options", config.task.options}}},
               {"seed", config.seed},
               {"samples_per_prompt", config.samples_per_prompt}};
  if (model.is_moe()) {
    // To take recorded expert ids apart by layer.
    info["moe"] = {{"layers", model.moe_layers()},
                   {"top_k", model.router.top_k},
                   {"experts", model.router.experts}};
  }
  if (const ImageCodes codes = image_codes(model); codes.present()) {
    // To show what was drawn.
    info["images"] = {{"first", codes.text_vocab},
                      {"codes", codes.codes},
                      {"rows", codes.rows},
                      {"columns", codes.columns}};
  }
  return info;
}

// A teacher speaks of the policy's token ids.
void check_same_tokens(const Tokenizer& ours, const Tokenizer& theirs, const std::string& teacher) {
  bool same = ours.vocab_size() == theirs.vocab_size();
  for (TokenId t = 0; same && t < ours.vocab_size(); ++t)
    same = ours.token_text(t) == theirs.token_text(t);
  if (!same)
    fail_usage("distill.teacher = " + teacher + " has another tokenizer than the policy",
               "choose a teacher with the policy's tokenizer");
}

// With an adapter the base is the reference, and is kept once; one that is refreshed has values of
// its own from then on.
std::unique_ptr<Policy> reference_over(const Policy& policy, bool refreshed) {
  if (!refreshed) return Policy::over(policy, policy.base());
  return Policy::over(policy, std::make_shared<FrozenBase>(policy.parameters().infos(),
                                                           BaseBits::kFloat32, *policy.base()));
}

void say_on_screen(const std::string& line) { std::fprintf(stderr, "%s\n", line.c_str()); }

}  // namespace

RunParts::RunParts(const RunConfig& config, const PartsSource& source) {
  const bool leads = source.team == nullptr || source.team->first();
  open_policy(config, source, leads);
  open_trainer(config, source);
  open_sampler(config, source, leads);
  rollouts = std::make_unique<Rollouts>(config, *task, *tokenizer, *sampler, &background,
                                        screen.get(), source.team);
  open_pipeline(config, source);
  open_recorder(config, source, leads);
  constexpr double kTypicalContext = 64;  // attention is a small part; MFU is a rough figure anyway
  flops_per_token = Roofline(policy->config()).forward_flops(kTypicalContext);
}

void RunParts::open_policy(const RunConfig& config, const PartsSource& source, bool leads) {
  tokenizer = load_tokenizer(source.model);
  task = make_task(config.task.name,
                   with_chat_template(config.task.options, *tokenizer, config.prompt.date));
  tokenizer_files = read_tokenizer_files(*tokenizer);
  if (source.team != nullptr && config.ranks.expert_parallel)
    experts = std::make_shared<ExpertTeam>(*source.team);
  policy = source.base != nullptr ? Policy::over(*source.base, source.base->base())
                                  : load_policy(config.lora, source.model, config.policy.element(),
                                                config.device.operators(), experts);
  if (source.base != nullptr) policy->take_exact(*open_model(source.model).source);
  if (config.ranks.expert_parallel && !policy->config().is_moe()) {
    fail_usage("ranks.expert_parallel is set, but a " +
                   std::string(to_string(policy->config().family)) + " model has no experts",
               "leave it out");
  }
  const int64_t context = policy->config().max_position;
  if (leads) {
    for (const std::string& note : policy->config().notes)
      say_on_screen("note: " + printable(note));
  }
  if (task->environment() != nullptr && config.async.max_staleness > 0) {
    fail_usage("async.max_staleness = " + std::to_string(config.async.max_staleness) +
                   " with a task of several turns: what an environment said would have to be in "
                   "the journal",
               "use async.lag, whose samples wait for the environment just so");
  }
  const PromptEncoder prompts(*tokenizer, config.prompt.bos);
  screen = std::make_unique<PromptScreen>(*task, prompts, context, config.sampling.max_tokens,
                                          config.data);
  evaluations = std::make_unique<EvaluationSets>(config, *task, *screen, *tokenizer, context);
  if (!leads) return;
  for (const auto* lines : {&screen->lines(), &evaluations->lines()}) {
    for (const std::string& line : *lines) say_on_screen(line);
  }
}

void RunParts::open_trainer(const RunConfig& config, const PartsSource& source) {
  std::unique_ptr<Policy> reference;
  if (config.loss.beta > 0 && config.lora.on()) {
    reference = reference_over(*policy, config.trainer.reference_refresh > 0);
  } else if (config.loss.beta > 0) {
    reference =
        Policy::load(source.reference, config.policy.element(), config.device.operators(), experts);
  }
  trainer = std::make_unique<Trainer>(*policy, std::move(reference), config.trainer, config.loss,
                                      config.optimizer, config.seed, config.steps,
                                      config.sampling.max_tokens, config.sampling.temperature,
                                      source.team, config.lora);
  const bool leads = source.team == nullptr || source.team->first();
  if (leads && trainer->low_rank() != nullptr)
    std::fputs(describe_update(*trainer->low_rank(), *policy).c_str(), stderr);
  if (config.advantage.supervision_kind() != Supervision::kOutcome)
    trainer->supervise_steps(config.advantage, *tokenizer);
  if (!config.distill.teacher.empty()) {
    const std::filesystem::path place = config.distill.teacher;
    check_same_tokens(*tokenizer, *load_tokenizer(place), config.distill.teacher);
    auto teacher = Policy::load(place, config.policy.element());
    if (source.team != nullptr)
      check_same_weights(*source.team, *teacher, "weights of the teacher");
    trainer->distil(std::move(teacher), config.distill);
  }
  if (config.async.mixes() || config.replay.share > 0) trainer->expect_older_weights();
}

void RunParts::open_sampler(const RunConfig& config, const PartsSource& source, bool leads) {
  const bool workers = !config.fleet.listen.empty();
  if (workers && leads) sampler = fleet_sampler(config, source);
  if (!workers) {
    // What older weights have computed is of no use to an update.
    ActivationStore* store = config.async.ahead() ? nullptr : trainer->activation_store();
    sampler =
        std::make_unique<LocalSampler>(policy->weights(), tokenizer.get(), config.engine, store);
  }
  if (source.team == nullptr) return;
  const auto shares = workers ? SharedSampler::Shares::kFirst : SharedSampler::Shares::kEqual;
  sampler = std::make_unique<SharedSampler>(std::move(sampler), *source.team, shares);
}

std::unique_ptr<Sampler> RunParts::fleet_sampler(const RunConfig& config,
                                                 const PartsSource& source) {
  fleet::FleetSetup setup;
  setup.model = policy->config();
  setup.element = config.policy.element();
  setup.tokenizer_files = tokenizer_files;
  setup.tokenizer = tokenizer.get();
  setup.record_experts = config.engine.record_experts;
  setup.folder = source.folder / "fleet";
  auto workers = std::make_unique<fleet::FleetSampler>(policy->weights(), config.fleet,
                                                       std::move(setup), say_on_screen);
  fleet = workers.get();
  return workers;
}

void RunParts::open_pipeline(const RunConfig& config, const PartsSource& source) {
  if (config.async.max_staleness == 0) {
    pipeline = std::make_unique<StepPipeline>(*rollouts, *sampler, config.async.lag, config.steps);
    return;
  }
  ElasticOptions options;
  options.journal = source.folder / kJournalFile;
  if (!source.replay.empty()) options.replay = source.replay / kJournalFile;
  if (fleet == nullptr) options.most_in_flight = config.engine.max_batch;
  options.local = [this, &config](WeightsPtr weights) -> std::unique_ptr<Sampler> {
    return std::make_unique<LocalSampler>(std::move(weights), tokenizer.get(), config.engine);
  };
  auto made = std::make_unique<ElasticPipeline>(*rollouts, *sampler, config, std::move(options));
  elastic = made.get();
  pipeline = std::move(made);
}

void RunParts::open_recorder(const RunConfig& config, const PartsSource& source, bool leads) {
  if (!leads) {
    recorder = std::make_unique<RunRecorder>();
    return;
  }
  RecorderOptions options;
  options.record = config.record;
  options.total_steps = config.steps;
  options.run_info = run_info_of(config, policy->config());
  options.vocabulary = vocabulary_of(*tokenizer);
  if (!task->grades_here()) {
    std::string why;  // candidate answers stay ungraded then, as in a reader of the run
    candidate_task = make_task_to_look(config.task.name, config.task.options, &why);
  }
  options.task = task->grades_here() ? task.get() : candidate_task.get();
  recorder = std::make_unique<RunRecorder>(source.folder, std::move(options));
}

}  // namespace zeroth
