// Expert parallelism (policy/expert_exchange.h) between the members of a team.
//
// Members exchange in rounds. In a round each member asks the others for something, or nothing; all
// say so in messages of one size, send what they ask with, compute what they are asked for, and send
// it back. A member that waits in a call of the team takes part until nobody asks for anything: so
// members need not make the same calls, and who has less to do serves the others meanwhile.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "policy/expert_exchange.h"
#include "policy/experts.h"
#include "ranks/team.h"

namespace zeroth {

class ExpertTeam : public ExpertExchange {
 public:
  // The team outlives every call; from now on its calls serve.
  explicit ExpertTeam(Team& team);
  ~ExpertTeam() override;
  int rank() const override { return team_.rank(); }
  int size() const override { return team_.size(); }
  int add_model() override;
  void host(int model, ExpertHost host) override;
  void forward(const Model& model, const ExpertRows& rows, std::span<float> out) override;
  void backward(const Model& model, const ExpertGradientRows& rows, kernels::At<float> grads,
                std::span<float> dx, std::span<float> dweights) override;
  void read_masters(int model, int owner, int64_t begin, std::span<float> out) override;
  void collect(Collect collect) override { collect_ = std::move(collect); }
  void begin_branch(int branch) override;
  void meet() override;

 private:
  struct Ask;     // what this member asks for in a round
  struct Header;  // what a member tells another one of it
  struct Inbox;   // what another member asks with, and gets
  // Null: nothing. False when nobody asked.
  bool round(const Ask* ask);
  std::shared_ptr<const Weights> weights_of(const Header& header, int rank) const;
  void answer(const Header& header, int rank, Inbox& inbox);

  Team& team_;
  std::vector<ExpertHost> hosts_;            // by model
  std::vector<Inbox> inboxes_;               // by rank
  std::vector<kernels::View<float>> grads_;  // of the branch that each rank is at
  Collect collect_;
  ExpertServer server_;
};

}  // namespace zeroth
