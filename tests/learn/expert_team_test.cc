// Members as threads of this process, over 127.0.0.1.
#include "learn/expert_team.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "core/files.h"
#include "core/rng.h"
#include "learn/learner.h"
#include "learn/tree_collective.h"
#include "model/formats/checkpoint.h"
#include "policy/scoring.h"
#include "tests/kernels/far_device.h"
#include "tests/model/support.h"
#include "tests/ranks/support.h"

using namespace zeroth;
using kernels::Element;

#ifdef ZEROTH_GLOO
namespace {

constexpr int kBranches = 6;

std::vector<std::vector<TokenId>> sequences_of(const PolicyConfig& config, uint32_t stream) {
  Rng rng(3, stream);
  std::vector<std::vector<TokenId>> out(1 + rng.below(4));
  for (auto& tokens : out) {
    tokens.resize(2 + rng.below(9));
    for (TokenId& token : tokens) token = static_cast<TokenId>(rng.below(config.vocab_size));
  }
  return out;
}

// What two updates leave: every log-prob, norms and all masters.
struct Outcome {
  std::vector<std::vector<float>> logprobs;  // by branch and call
  std::vector<double> norms;
  std::vector<float> masters;
  int64_t own = 0;  // masters that are here
  bool operator==(const Outcome& other) const {
    return logprobs == other.logprobs && norms == other.norms && masters == other.masters;
  }
};

// Branch b makes b % 4 calls: one makes none, and no two neighbours make as many.
void accumulate(Learner& learner, TreeNode own, uint32_t stream, Outcome& outcome) {
  const PolicyConfig& config = learner.policy().config();
  std::vector<float> logprob;
  for (int b = 0, call = 0; b < kBranches; ++b) {
    for (int i = 0; i < b % 4; ++i, ++call) {
      outcome.logprobs.resize(std::max<size_t>(outcome.logprobs.size(), call + 1));
      if (b < own.begin || b >= own.end) continue;
      const auto sequences = sequences_of(config, stream + 100 * b + i);
      const bool last = i + 1 == b % 4 && (b + 1 == own.end || (b + 2 == own.end && b % 4 == 3));
      for_each_pass(config, sequences, 1000, [&](const TargetBatch& batch) {
        logprob.resize(batch.target.size());
        learner.forward(batch, logprob.data(), nullptr);
        const std::vector<float> dlogprob(batch.target.size(), -1.0f);
        learner.accumulate(batch, dlogprob.data(), nullptr, {0.01, 40}, b, last);
        outcome.logprobs[call] = logprob;
      });
    }
  }
}

Outcome train(Policy& policy, std::unique_ptr<Collective> collective, Activations::Mode mode) {
  Outcome outcome;
  OptimizerConfig optimizer;
  optimizer.weight_decay = 0.1;
  const TreeNode own = collective ? own_branches(kBranches, collective->rank(), collective->size())
                                  : TreeNode{0, kBranches};
  const int rank = collective ? collective->rank() : 0;
  Learner learner(policy, optimizer, {mode, kBranches}, std::move(collective));
  std::vector<bool> filled;
  for (int b = 0; b < kBranches; ++b) filled.push_back(b % 4 > 0);
  for (uint32_t update = 0; update < 2; ++update) {
    learner.begin(filled);
    accumulate(learner, own, 1000 * update, outcome);
    learner.reduce();
    outcome.norms.push_back(learner.step(1e-3));
    learner.publish();
    // As sampling does: a rank alone, more often than others.
    for (int i = 0; i < rank; ++i)
      score_sequences(*policy.weights(), sequences_of(policy.config(), i));
  }
  outcome.own = floats_in(policy.own_masters());
  outcome.masters.resize(policy.parameters().values().size());
  if (rank != 0) return outcome;
  policy.read_masters(0, outcome.masters);  // of everybody, where the others wait
  return outcome;
}

Outcome train_alone(const std::filesystem::path& model, Element element, Activations::Mode mode) {
  const auto policy = Policy::load(model, element);
  return train(*policy, nullptr, mode);
}

void check_team(const std::filesystem::path& model, Element element, Activations::Mode mode,
                int size, bool far) {
  CAPTURE(model.string());
  CAPTURE(size);
  const Outcome want = train_alone(model, element, mode);
  for (const double norm : want.norms) CHECK(norm > 0);
  std::vector<Outcome> got(size);
  std::vector<Member> members;
  for (int r = 0; r < size; ++r) members.push_back({r, size});
  const auto errors = run_members(members, free_port(), [&](Team& team) {
    const kernels::FarOperators elsewhere(kernels::cpu_operators());
    const kernels::Operators& ops =
        far ? static_cast<const kernels::Operators&>(elsewhere) : kernels::cpu_operators();
    const auto policy = Policy::load(model, element, ops, std::make_shared<ExpertTeam>(team));
    got[team.rank()] = train(*policy, std::make_unique<TreeCollective>(team), mode);
    team.gather("trained", "");
  });
  for (const std::string& error : errors) CHECK(error == "");
  int64_t own = 0;
  for (const Outcome& one : got) {
    CHECK(one.norms == want.norms);
    CHECK(one.own < want.own);
    own += one.own;
    for (size_t i = 0; i < one.logprobs.size(); ++i) {
      if (!one.logprobs[i].empty()) CHECK(one.logprobs[i] == want.logprobs[i]);
    }
  }
  CHECK(own < size * want.own);
  CHECK(got[0].masters == want.masters);
}

}  // namespace

TEST_CASE("members with a share of the experts each make the updates of one, bit for bit") {
  for (const char* family : {"qwen3_moe", "deepseek_v3", "gpt_oss", "mixtral"})
    for (const int size : {2, 3, 4})
      check_team(test::fixture(family), Element::kFloat32, Activations::Mode::kFull, size, false);
}

TEST_CASE("so do they with bfloat16 weights, and when backward computes forward again") {
  for (const auto mode : {Activations::Mode::kFull, Activations::Mode::kCheckpoint})
    check_team(test::fixture("glm4_moe"), Element::kBfloat16, mode, 3, false);
}

TEST_CASE("so do they on a device that the host cannot follow") {
  check_team(test::fixture("gpt_oss"), Element::kFloat32, Activations::Mode::kFull, 2, true);
}

TEST_CASE("a checkpoint that rank 0 writes holds the experts of all") {
  const test::TempDir alone, team_dir;
  for (const char* family : {"qwen3_moe", "gpt_oss"}) {
    Policy::load(test::fixture(family))->save(alone.path());
    run_members({{0, 3}, {1, 3}, {2, 3}}, free_port(), [&](Team& team) {
      const auto policy =
          Policy::load(test::fixture(family), Element::kFloat32, kernels::cpu_operators(),
                       std::make_shared<ExpertTeam>(team));
      if (team.first()) policy->save(team_dir.path());
      team.gather("saved", "");
    });
    for (const char* name : {"model.safetensors", "config.json"})
      CHECK(read_file(team_dir.path() / name, UINT64_MAX) ==
            read_file(alone.path() / name, UINT64_MAX));
  }
}

TEST_CASE("a member whose weights are another version's is named") {
  const auto errors = run_members({{0, 2}, {1, 2}}, free_port(), [&](Team& team) {
    const auto policy = Policy::load(test::fixture("mixtral"), Element::kFloat32,
                                     kernels::cpu_operators(), std::make_shared<ExpertTeam>(team));
    if (team.rank() == 1) policy->publish(7);
    const std::vector<std::vector<TokenId>> sequences = {{1, 2, 3, 4, 5}};
    try {
      if (team.rank() == 1) score_sequences(*policy->weights(), sequences);
      team.gather("scored", "");
    } catch (const Error& error) {
      team.fail(error.what());
      throw;
    }
  });
  CHECK(errors[0].find("rank 1 computes with version 7 of model 0, rank 0 has published 0") !=
        std::string::npos);
  CHECK(errors[1].find("rank 0") != std::string::npos);
}
#endif
