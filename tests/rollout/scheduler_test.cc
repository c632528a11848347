// The scheduler against a model made of integers: a page holds the tokens written to it, and a row
// is right when the pages it sees hold exactly the tokens before it. Any mistake in sharing,
// copying, chunking or preemption shows as a wrong history or as another completion.
#include "rollout/scheduler.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>

namespace zeroth {
namespace {

using kernels::kPageTokens;

uint32_t mix(uint32_t hash, uint32_t value) {
  hash ^= value + 0x9e3779b9u + (hash << 6) + (hash >> 2);
  return hash * 0x85ebca6bu;
}

struct Request {
  std::vector<TokenId> prompt;
  int samples = 1;
  int max_tokens = 8;
};

// Token `t` of sample `sample` after `history`; the completion ends where the hash says or at the
// limit.
TokenId next_token(const std::vector<TokenId>& history, int sample) {
  uint32_t hash = mix(17, static_cast<uint32_t>(sample));
  for (const TokenId token : history) hash = mix(hash, static_cast<uint32_t>(token));
  return static_cast<TokenId>(hash % 1000);
}
bool ends(TokenId token, size_t generated, const Request& request) {
  return token % 41 == 0 || static_cast<int>(generated) == request.max_tokens;
}

class FakeModel {
 public:
  FakeModel(const std::vector<Request>& requests, const SchedulerLimits& limits)
      : requests_(requests), limits_(limits), scheduler_(limits), memory_(limits.pages) {
    for (const Request& request : requests) {
      CHECK(scheduler_.add(request.prompt, request.samples) == static_cast<int>(owner_.size()));
      for (int i = 0; i < request.samples; ++i) {
        owner_.push_back(i);
        request_of_.push_back(static_cast<int>(&request - requests.data()));
      }
    }
    completions_.resize(owner_.size());
    prompt_rows_.resize(requests.size());
  }

  std::vector<std::vector<TokenId>> run() {
    int64_t guard = 0;
    while (!scheduler_.done()) {
      REQUIRE(++guard < 200000);
      step();
    }
    CHECK(scheduler_.free_pages() == limits_.pages);
    CHECK(scheduler_.running() == 0);
    return completions_;
  }

  // Drafts of random lengths from now on, right ones and wrong ones.
  void draft_by(std::mt19937& random) { random_ = &random; }

  int64_t steps = 0, prompt_rows = 0, rows = 0, largest_batch = 0, tried = 0, accepted = 0;
  const Scheduler& scheduler() const { return scheduler_; }

 private:
  void step() {
    if (random_ != nullptr) draft();
    const StepPlan& plan = scheduler_.plan();
    const size_t m = plan.tokens.size();
    REQUIRE((m > 0 || !plan.draws.empty()));
    CHECK(plan.prefill_rows <= limits_.prefill_chunk);
    const int64_t ahead = std::count_if(plan.draws.begin(), plan.draws.end(),
                                        [](const Draw& draw) { return draw.ahead > 0; });
    CHECK(static_cast<int64_t>(m) - plan.prefill_rows - ahead <= limits_.max_batch);
    CHECK(scheduler_.running() <= limits_.max_batch);
    for (const auto& [from, to] : plan.copies) memory_[to] = memory_[from];
    write(plan);
    for (const auto& [request, row] : plan.prompt_rows) {
      prompt_rows_[request] = history(plan, row);
      CHECK(prompt_rows_[request] == requests_[request].prompt);
    }
    draw(plan);
    ++steps;
    rows += static_cast<int64_t>(m);
    prompt_rows += plan.prefill_rows;
    largest_batch = std::max<int64_t>(largest_batch, scheduler_.running());
  }

  // Tokens of the truth, now and then another one, and what the truth has behind that.
  void draft() {
    for (const int s : scheduler_.running_sequences()) {
      if (!scheduler_.decoding(s) || (*random_)() % 3 == 0) continue;
      const Request& request = requests_[request_of_[s]];
      std::vector<TokenId> history = request.prompt, draft;
      history.insert(history.end(), completions_[s].begin(), completions_[s].end());
      const size_t room = request.max_tokens - completions_[s].size() - 1;
      const size_t wanted = std::min<size_t>(room, (*random_)() % 40);
      while (draft.size() < wanted) {
        const bool right = (*random_)() % 8 > 0;
        draft.push_back(right ? next_token(history, owner_[s])
                              : static_cast<TokenId>((*random_)() % 1000));
        history.push_back(draft.back());
      }
      scheduler_.draft(s, draft);
    }
  }

  void write(const StepPlan& plan) {
    REQUIRE(plan.writes.size() == plan.tokens.size());
    std::set<int64_t> slots;
    for (const kernels::KvWrite& write : plan.writes) {
      CHECK(slots.insert(write.slot).second);  // two rows on one slot: a page shared by mistake
      const int32_t page = static_cast<int32_t>(write.slot / kPageTokens);
      memory_[page][write.slot % kPageTokens] = {plan.positions[write.row], plan.tokens[write.row]};
    }
  }

  // What row `row` sees in the cache.
  std::vector<TokenId> history(const StepPlan& plan, int row) const {
    std::vector<TokenId> tokens;
    const int32_t sequence = plan.sequence[row];
    for (int32_t p = 0; p <= plan.positions[row]; ++p) {
      const int32_t entry = plan.page_begin[sequence] + p / kPageTokens;
      REQUIRE(entry < plan.page_begin[sequence + 1]);
      const auto& slot = memory_[plan.page_table[entry]].at(p % kPageTokens);
      CHECK(slot.first == p);
      tokens.push_back(slot.second);
    }
    return tokens;
  }

  void draw(const StepPlan& plan) {
    std::vector<Outcome> outcomes;
    std::set<int> drawn;
    for (const Draw& draw : plan.draws) {
      if (draw.ahead > 0) {
        ++tried;
        REQUIRE(outcomes.size() == static_cast<size_t>(&draw - plan.draws.data()));
        REQUIRE((&draw)[-1].sequence == draw.sequence);
        REQUIRE((&draw)[-1].ahead == draw.ahead - 1);
        const Outcome& before = outcomes.back();
        if (!before.drawn || before.finished || before.token != plan.tokens[draw.row]) {
          outcomes.push_back({-1, false, false});
          continue;
        }
        ++accepted;
      } else {
        CHECK(drawn.insert(draw.sequence).second);
      }
      std::vector<TokenId>& completion = completions_[draw.sequence];
      const Request& request = requests_[draw.request];
      std::vector<TokenId> expected = request.prompt;
      expected.insert(expected.end(), completion.begin(), completion.end());
      const auto seen = draw.row < 0 ? prompt_rows_[draw.request] : history(plan, draw.row);
      CHECK(seen == expected);
      const TokenId token = next_token(seen, owner_[draw.sequence]);
      completion.push_back(token);
      outcomes.push_back({token, ends(token, completion.size(), request)});
    }
    scheduler_.commit(outcomes);
  }

  using Page = std::map<int, std::pair<int32_t, TokenId>>;
  std::vector<Request> requests_;
  SchedulerLimits limits_;
  Scheduler scheduler_;
  std::vector<Page> memory_;
  std::vector<int> owner_, request_of_;
  std::mt19937* random_ = nullptr;
  std::vector<std::vector<TokenId>> completions_;
  std::vector<std::vector<TokenId>> prompt_rows_;
};

std::vector<std::vector<TokenId>> truth(const std::vector<Request>& requests) {
  std::vector<std::vector<TokenId>> all;
  for (const Request& request : requests) {
    for (int sample = 0; sample < request.samples; ++sample) {
      std::vector<TokenId> history = request.prompt;
      std::vector<TokenId> completion;
      do {
        completion.push_back(next_token(history, sample));
        history.push_back(completion.back());
      } while (!ends(completion.back(), completion.size(), request));
      all.push_back(completion);
    }
  }
  return all;
}

std::vector<Request> random_requests(std::mt19937& random, int most, int longest_prompt) {
  std::vector<Request> requests(1 + random() % most);
  for (Request& request : requests) {
    request.prompt.resize(1 + random() % longest_prompt);
    for (TokenId& token : request.prompt) token = static_cast<TokenId>(random() % 1000);
    request.samples = static_cast<int>(random() % 6);
    request.max_tokens = static_cast<int>(1 + random() % 60);
  }
  return requests;
}

int64_t least_pages(const std::vector<Request>& requests) {
  int64_t pages = 1;
  for (const Request& request : requests) {
    pages = std::max(pages, Scheduler::pages_needed(request.prompt.size(), request.max_tokens));
  }
  return pages;
}

TEST_CASE("completions do not depend on batch, chunk or cache size") {
  std::mt19937 random(11);
  int64_t preemptions = 0;
  for (int round = 0; round < 400; ++round) {
    const std::vector<Request> requests = random_requests(random, 6, 50);
    const auto expected = truth(requests);
    for (int variant = 0; variant < 4; ++variant) {
      SchedulerLimits limits;
      limits.pages = least_pages(requests) + (variant == 0 ? 0 : random() % 30);
      limits.max_batch = static_cast<int>(1 + random() % 20);
      limits.prefill_chunk = static_cast<int>(1 + random() % 40);
      FakeModel model(requests, limits);
      CHECK(model.run() == expected);
      preemptions += model.scheduler().preemptions();
    }
  }
  CHECK(preemptions > 100);  // else the small caches tested nothing
}

TEST_CASE("drafts change the steps and no completion") {
  std::mt19937 random(12);
  int64_t preemptions = 0, tried = 0, accepted = 0;
  for (int round = 0; round < 400; ++round) {
    const std::vector<Request> requests = random_requests(random, 6, 50);
    const auto expected = truth(requests);
    for (int variant = 0; variant < 4; ++variant) {
      SchedulerLimits limits;
      limits.pages = least_pages(requests) + (variant == 0 ? 0 : random() % 30);
      limits.max_batch = static_cast<int>(1 + random() % 20);
      limits.prefill_chunk = static_cast<int>(1 + random() % 40);
      FakeModel model(requests, limits);
      model.draft_by(random);
      CHECK(model.run() == expected);
      preemptions += model.scheduler().preemptions();
      tried += model.tried;
      accepted += model.accepted;
    }
  }
  CHECK(preemptions > 100);
  CHECK(accepted > 10000);
  CHECK(tried > accepted + 10000);
}

TEST_CASE("drafts that come true save steps, and take pages from nobody") {
  const std::vector<Request> requests = {{std::vector<TokenId>(20, 3), 4, 60}};
  const auto expected = truth(requests);
  for (const int64_t pages : {int64_t{40}, least_pages(requests) + 6}) {
    CAPTURE(pages);
    FakeModel without(requests, {pages, 8, 512}), with(requests, {pages, 8, 512});
    std::mt19937 random(4);
    with.draft_by(random);
    CHECK(without.run() == expected);
    CHECK(with.run() == expected);
    CHECK(with.steps < without.steps);
    CHECK(with.scheduler().preemptions() <= without.scheduler().preemptions());
  }
}

TEST_CASE("a sequence that needs the whole cache runs alone in it") {
  // 15 + 2 tokens need 16 positions: one page, which the prompt's copy would already exceed.
  std::vector<Request> requests(2);
  requests[0] = {std::vector<TokenId>(15, 3), 3, 2};
  requests[1] = {std::vector<TokenId>(16, 5), 2, 1};
  FakeModel model(requests, {1, 8, 512});
  CHECK(model.run() == truth(requests));
}

TEST_CASE("a group's prompt is computed once") {
  std::vector<Request> requests(3);
  for (int i = 0; i < 3; ++i) requests[i] = {std::vector<TokenId>(37, i), 16, 40};
  FakeModel model(requests, {1000, 64, 512});
  CHECK(model.run() == truth(requests));
  CHECK(model.prompt_rows == 3 * 37);
  CHECK(model.scheduler().preemptions() == 0);
  CHECK(model.largest_batch == 48);

  // Also when the group does not fit into one batch.
  FakeModel narrow(requests, {1000, 3, 512});
  CHECK(narrow.run() == truth(requests));
  CHECK(narrow.prompt_rows == 3 * 37);
}

TEST_CASE("the batch is filled as sequences finish") {
  std::vector<Request> requests(40);
  for (int i = 0; i < 40; ++i) requests[i] = {{TokenId(i), 1}, 4, 30};
  FakeModel model(requests, {2000, 16, 512});
  const auto completions = model.run();
  int64_t tokens = 0;
  size_t longest = 0;
  for (const auto& completion : completions) {
    tokens += static_cast<int64_t>(completion.size());
    longest = std::max(longest, completion.size());
  }
  // Full steps for all tokens but the first of a sequence, then a tail of one sequence's length.
  CHECK(model.steps <= (tokens + 160) / 16 + static_cast<int64_t>(longest) + 8);
}

TEST_CASE("prefill goes on beside decoding") {
  std::vector<Request> requests(2);
  requests[0] = {{1, 2, 3}, 1, 50};
  requests[1] = {std::vector<TokenId>(200, 9), 1, 50};
  FakeModel model(requests, {100, 4, 8});
  const auto completions = model.run();
  const size_t serial = completions[0].size() + 200 / 8 + completions[1].size();
  CHECK(model.steps < static_cast<int64_t>(serial));
}

TEST_CASE("the same calls give the same plans") {
  std::mt19937 random(5);
  const std::vector<Request> requests = random_requests(random, 6, 40);
  std::vector<std::string> logs;
  for (int run = 0; run < 2; ++run) {
    Scheduler scheduler({least_pages(requests) + 3, 5, 7});
    std::vector<int> sample;
    for (const Request& request : requests) {
      scheduler.add(request.prompt, request.samples);
      for (int i = 0; i < request.samples; ++i) sample.push_back(0);
    }
    std::string log;
    while (!scheduler.done()) {
      const StepPlan& plan = scheduler.plan();
      for (const auto& write : plan.writes) log += std::to_string(write.slot) + " ";
      std::vector<Outcome> outcomes;
      for (const Draw& draw : plan.draws) {
        log += "d" + std::to_string(draw.sequence) + " ";
        outcomes.push_back({1, ++sample[draw.sequence] == requests[draw.request].max_tokens});
      }
      scheduler.commit(outcomes);
    }
    logs.push_back(log);
  }
  CHECK(logs[0] == logs[1]);
}

TEST_CASE("a sequence that can never fit is a defect of the caller") {
  Scheduler scheduler({2, 4, 512});
  const std::vector<TokenId> prompt(40, 1);
  scheduler.add(prompt, 1);
  CHECK_THROWS_AS(scheduler.plan(), std::logic_error);
  CHECK(Scheduler::pages_needed(15, 2) == 1);
  CHECK(Scheduler::pages_needed(16, 2) == 2);
  CHECK(Scheduler::pages_needed(16, 1) == 1);
}

}  // namespace
}  // namespace zeroth
