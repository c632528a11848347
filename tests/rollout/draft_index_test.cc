#include "rollout/draft_index.h"

#include <doctest/doctest.h>

#include <random>

#include "rollout/drafter.h"

namespace zeroth {
namespace {

using Tokens = std::vector<TokenId>;

Tokens guessed(const DraftIndex& index, int text, int most = 8) {
  std::vector<DraftGuess> guesses;
  index.guess(text, most, DraftOdds(), 0, guesses);
  Tokens out;
  for (const DraftGuess& guess : guesses) {
    CHECK(guess.kind >= 0);
    CHECK(guess.kind < kDraftKinds);
    out.push_back(guess.token);
  }
  return out;
}

// Of a model that reads much for a step, so that rows are cheap.
Roofline costs() {
  return Roofline(PolicyConfig::from_json({{"architectures", {"LlamaForCausalLM"}},
                                           {"model_type", "llama"},
                                           {"vocab_size", 1000},
                                           {"hidden_size", 1024},
                                           {"intermediate_size", 4096},
                                           {"num_hidden_layers", 8},
                                           {"num_attention_heads", 16},
                                           {"num_key_value_heads", 16},
                                           {"max_position_embeddings", 256},
                                           {"hidden_act", "silu"},
                                           {"rms_norm_eps", 1e-6},
                                           {"tie_word_embeddings", true}},
                                          "costs"));
}

Tokens count_up(TokenId first, int n) {
  Tokens out;
  for (int i = 0; i < n; ++i) out.push_back(first + i);
  return out;
}

TEST_CASE("a text goes on as another one did behind the same tokens") {
  DraftIndex index(Tokens{1, 2, 3, 4, 5, 6, 7, 8, 9});
  const int first = index.add(Tokens{20, 21, 22, 23, 24, 25});
  CHECK(guessed(index, first).empty());
  const int second = index.add(Tokens{50, 20, 21});
  CHECK(guessed(index, second).empty());  // two tokens say nothing yet
  index.append(second, Tokens{22});
  CHECK(guessed(index, second) == Tokens{23, 24, 25});
  CHECK(guessed(index, second, 2) == Tokens{23, 24});
  CHECK(guessed(index, second, 0).empty());
  index.append(second, Tokens{99});
  CHECK(guessed(index, second).empty());
  CHECK(index.tokens() == 9 + 6 + 5);
}

TEST_CASE("texts begin where the prompt ends, and may quote it") {
  const Tokens prompt = count_up(1, 30);
  DraftIndex index(prompt);
  index.add(Tokens{70, 71, 72});
  const int fresh = index.add(Tokens{});
  CHECK(guessed(index, fresh) == Tokens{70, 71, 72});  // behind the whole prompt
  const int quotes = index.add(Tokens{90, 5, 6, 7});
  CHECK(guessed(index, quotes, 4) == Tokens{8, 9, 10, 11});
  DraftIndex bare(Tokens{3});
  CHECK(guessed(bare, bare.add(Tokens{4, 5})).empty());
}

TEST_CASE("a text that repeats itself goes on so") {
  DraftIndex index(Tokens{1});
  Tokens text;
  for (int i = 0; i < 5; ++i) text.insert(text.end(), {7, 8, 9, 10});
  const int number = index.add(text);
  CHECK(guessed(index, number, 4) == Tokens{7, 8, 9, 10});
}

TEST_CASE("more agreement before a place counts more, then the number of places") {
  DraftIndex index(Tokens{1});
  index.add(Tokens{10, 11, 12, 13, 14, 15, 16, 17, 40});
  for (int i = 0; i < 3; ++i) index.add(Tokens{80 + i, 15, 16, 17, 41});
  const int longer = index.add(Tokens{10, 11, 12, 13, 14, 15, 16, 17});
  CHECK(guessed(index, longer) == Tokens{40});
  index.append(longer, Tokens{0});
  const int shorter = index.add(Tokens{90, 15, 16, 17});
  CHECK(guessed(index, shorter) == Tokens{41});
}

TEST_CASE("guesses are a function of the calls") {
  std::mt19937 random(3);
  std::vector<Tokens> texts(30);
  for (Tokens& text : texts) {
    for (int i = 0; i < 80; ++i) text.push_back(static_cast<TokenId>(random() % 3));
  }
  Tokens all[2];
  for (Tokens& out : all) {
    DraftIndex index(texts[0]);
    for (const Tokens& text : texts) {
      const int number = index.add(text);
      for (const TokenId token : guessed(index, number)) out.push_back(token);
    }
  }
  CHECK(all[0] == all[1]);
  CHECK(all[0].size() > 100);
}

TEST_CASE("odds follow what happened, of late") {
  DraftOdds odds;
  CHECK(odds.odds(3) == 0.5);
  for (int i = 0; i < 1000; ++i) odds.score(3, true);
  CHECK(odds.odds(3) > 0.99);
  CHECK(odds.odds(4) == 0.5);
  for (int i = 0; i < 500; ++i) odds.score(3, false);
  CHECK(odds.odds(3) < 0.3);
  CHECK(odds.odds(3) > 0);
}

TEST_CASE("a history keeps the newest samples of the prompts met last, within its bytes") {
  DraftHistory history(1 << 20);
  const Tokens first = {1, 2}, second = {1, 3};
  CHECK(history.of(first) == nullptr);
  history.add(first, Tokens{5});
  history.add(first, Tokens{6, 7});
  history.add(second, Tokens{});  // nothing to learn from
  REQUIRE(history.of(first) != nullptr);
  CHECK(history.of(first)->size() == 2);
  CHECK(history.of(first)->back() == Tokens{6, 7});
  CHECK(history.of(second) == nullptr);

  // Of one prompt.
  const Tokens large(DraftHistory::kTokensOfPrompt - 10, 4);
  history.add(first, large);
  CHECK(history.of(first)->size() == 3);
  history.add(first, Tokens(8, 9));
  CHECK(history.of(first)->size() == 3);
  CHECK(history.of(first)->front() == Tokens{6, 7});

  // Of all.
  for (TokenId i = 0; i < 100; ++i) {
    history.add(Tokens{7, i}, large);
    history.of(first);  // met again
    CHECK(history.bytes() <= 1 << 20);
  }
  CHECK(history.of(first) != nullptr);
  CHECK(history.of(Tokens{7, 99}) != nullptr);
  CHECK(history.of(Tokens{7, 0}) == nullptr);

  DraftHistory none(0);
  none.add(first, Tokens{5});
  CHECK(none.of(first) == nullptr);
  CHECK(none.bytes() == 0);
}

TEST_CASE("rows go to the likeliest tokens") {
  EngineConfig config;
  config.draft_tokens = 6;
  config.draft_batch = 5;
  Drafter drafter(config, costs());
  drafter.begin();
  CHECK(drafter.wanted(2));
  CHECK_FALSE(drafter.wanted(3));
  CHECK_FALSE(drafter.wanted(0));
  const Tokens prompt = {1, 2, 3};
  // A sibling that has ended, and one that goes the same way: guesses come true again and again.
  const Tokens whole = count_up(10, 60);
  drafter.end({0, 0, prompt, whole, 0}, false);
  Tokens follows(whole.begin(), whole.begin() + 4), strays = {90, 91, 92, 93};
  size_t longest = 0;
  while (follows.size() < 50) {
    drafter.consider({0, 1, prompt, follows, 20}, 2);
    drafter.consider({0, 2, prompt, strays, 20}, 2);
    const auto& drafts = drafter.choose(2);
    REQUIRE(drafts.size() <= 1);
    if (!drafts.empty()) {
      CHECK(drafts[0].sequence == 1);
      CHECK(drafts[0].tokens.size() <= 3);  // two rows of five are taken
      longest = std::max(longest, drafts[0].tokens.size());
      CHECK(std::equal(drafts[0].tokens.begin(), drafts[0].tokens.end(),
                       whole.begin() + static_cast<long>(follows.size())));
    }
    follows.push_back(whole[follows.size()]);
    strays.push_back(200 + static_cast<TokenId>(strays.size()));
  }
  CHECK(longest == 3);
  // No more than there is room for.
  drafter.consider({0, 1, prompt, follows, 2}, 1);
  CHECK(drafter.choose(1).at(0).tokens.size() == 2);
  drafter.rest();
  CHECK_FALSE(drafter.wanted(1));
  drafter.begin();
  CHECK(drafter.wanted(1));
  // What it has seen goes on to the next generate(), by prompt.
  drafter.consider({7, 0, prompt, follows, 6}, 1);
  CHECK(drafter.choose(1).at(0).tokens == count_up(60, 4));
}

TEST_CASE("kinds of guesses that are wrong are not tried") {
  EngineConfig config;
  config.draft_batch = 100;
  Drafter drafter(config, costs());
  drafter.begin();
  const Tokens prompt = {1};
  // Each text repeats three tokens of an earlier one and then goes another way.
  Tokens text = {2, 3, 4};
  int tried_early = 0, tried_late = 0;
  for (int i = 0; i < 200; ++i) {
    text.insert(text.end(), {2, 3, 4});
    drafter.consider({0, 0, prompt, text, 50}, 1);
    (i < 20 ? tried_early : tried_late) += static_cast<int>(drafter.choose(1).size());
    text.push_back(1000 + i);
  }
  CHECK(tried_early > 0);
  CHECK(tried_late == 0);
}

}  // namespace
}  // namespace zeroth
