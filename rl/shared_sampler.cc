#include "rl/shared_sampler.h"

#include <utility>

#include "core/error.h"
#include "rl/rollout_codec.h"

namespace zeroth {

SharedSampler::SharedSampler(std::unique_ptr<Sampler> own, Team& team, Shares shares)
    : own_(std::move(own)), team_(team), shares_(shares) {}

void SharedSampler::publish(WeightsPtr weights) {
  if (own_ != nullptr) own_->publish(std::move(weights));
}

const SamplerStats& SharedSampler::stats() const { return own_ != nullptr ? own_->stats() : none_; }

int64_t SharedSampler::begin_of(int64_t requests, int rank) const {
  if (shares_ == Shares::kFirst) return rank == 0 ? 0 : requests;
  return Team::share_begin(requests, rank, team_.size());
}

std::vector<std::vector<Sample>> SharedSampler::generate(
    const std::vector<GenerationRequest>& requests, const GenerateOptions& options) {
  if (options.drew || options.more)
    fail("several ranks share this sampler: it shows no single tokens and takes no late requests");
  const auto count = static_cast<int64_t>(requests.size());
  const int64_t begin = begin_of(count, team_.rank()), end = begin_of(count, team_.rank() + 1);
  std::vector<std::vector<Sample>> mine;
  Tickets tickets;
  if (begin < end) {
    GenerateOptions with;
    with.cancel = &team_.cut();
    if (options.tickets != nullptr) with.tickets = &tickets;
    if (options.done) {
      with.done = [&](int request, int sample, const Sample& of) {
        options.done(static_cast<int>(begin) + request, sample, of);
      };
    }
    mine = own_->generate({requests.begin() + begin, requests.begin() + end}, with);
  }
  const auto texts = team_.gather("samples", pack_samples(mine));
  std::vector<std::vector<Sample>> all;
  if (options.tickets != nullptr) options.tickets->clear();
  for (int r = 0; r < team_.size(); ++r) {
    const bool own = r == team_.rank();
    const std::string source = "the samples of rank " + std::to_string(r);
    auto theirs = own ? std::move(mine) : unpack_samples(texts[r], source);
    const int64_t first = begin_of(count, r), last = begin_of(count, r + 1);
    if (static_cast<int64_t>(theirs.size()) != last - first)
      fail(source + " are of other requests");
    for (int64_t i = first; i < last; ++i) {
      std::vector<Sample>& samples = all.emplace_back(std::move(theirs[i - first]));
      if (static_cast<int>(samples.size()) != requests[i].samples)
        fail(source + " are of other requests");
      for (int s = 0; !own && options.done && s < requests[i].samples; ++s) {
        if (samples[s].finish != FinishReason::kAborted)
          options.done(static_cast<int>(i), s, samples[s]);
      }
      if (options.tickets == nullptr) continue;
      options.tickets->push_back(own && static_cast<int64_t>(tickets.size()) > i - first
                                     ? std::move(tickets[i - first])
                                     : std::vector<ActivationTicket>(requests[i].samples));
    }
  }
  return all;
}

}  // namespace zeroth
