#include "rollout/resample.h"

#include <set>
#include <utility>

namespace zeroth {
namespace {

// Where the segment of a version ends in a sample, or -1 when it has none.
int32_t end_of(const SamplePlan& plan, WeightsVersion version) {
  for (size_t i = 0; i < plan.versions.size(); ++i) {
    if (plan.versions[i].version != version) continue;
    return i + 1 < plan.versions.size() ? plan.versions[i + 1].first : plan.tokens;
  }
  return -1;
}

// What one version draws: pieces of requests, each of neighbouring samples.
struct Pass {
  std::vector<GenerationRequest> requests;
  std::vector<std::pair<size_t, int>> places;  // request and first sample of each
  std::vector<std::vector<int32_t>> ends;      // [piece][sample]

  void add(const GenerationRequest& whole, size_t r, int s, const Sample& begun, int32_t end) {
    const bool joins = !places.empty() && places.back().first == r &&
                       places.back().second + requests.back().samples == s;
    if (!joins) {
      requests.push_back(whole);
      requests.back().first_sample += static_cast<uint32_t>(s);
      requests.back().samples = 0;
      requests.back().begun.clear();
      places.emplace_back(r, s);
      ends.emplace_back();
    }
    ++requests.back().samples;
    requests.back().begun.push_back(begun);
    ends.back().push_back(end);
  }
};

}  // namespace

std::vector<std::vector<Sample>> resample(Sampler& sampler,
                                          const std::vector<GenerationRequest>& requests,
                                          const std::vector<std::vector<SamplePlan>>& plans,
                                          const std::function<WeightsPtr(WeightsVersion)>& weights,
                                          const std::atomic<bool>* cancel) {
  std::vector<std::vector<Sample>> out(requests.size());
  std::set<WeightsVersion> versions;
  for (size_t r = 0; r < requests.size(); ++r) {
    out[r].resize(plans[r].size());
    for (const SamplePlan& plan : plans[r]) {
      for (const VersionSegment& segment : plan.versions) versions.insert(segment.version);
    }
  }
  for (const WeightsVersion version : versions) {
    Pass pass;
    for (size_t r = 0; r < requests.size(); ++r) {
      for (size_t s = 0; s < plans[r].size(); ++s) {
        const int32_t end = end_of(plans[r][s], version);
        if (end >= 0) pass.add(requests[r], r, static_cast<int>(s), out[r][s], end);
      }
    }
    sampler.publish(weights(version));
    GenerateOptions options;
    options.cancel = cancel;
    options.drew = [&](int request, int sample, const Sample& so_far) {
      return static_cast<int32_t>(so_far.tokens.size()) < pass.ends[request][sample];
    };
    auto drawn = sampler.generate(pass.requests, options);
    for (size_t p = 0; p < drawn.size(); ++p) {
      const auto [r, first] = pass.places[p];
      for (size_t i = 0; i < drawn[p].size(); ++i) out[r][first + i] = std::move(drawn[p][i]);
    }
  }
  return out;
}

}  // namespace zeroth
