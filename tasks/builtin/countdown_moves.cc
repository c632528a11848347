#include "tasks/builtin/countdown_moves.h"

#include <algorithm>
#include <cstdlib>
#include <set>

namespace zeroth {
namespace {

constexpr char kOps[] = {'+', '-', '*', '/'};

// A number in play: given, or the result of earlier operations.
struct Operand {
  int value = 0;
  std::string text;
  bool composite = false;
  std::string inner() const { return composite ? "(" + text + ")" : text; }
};

struct Move {
  size_t left, right;  // positions in the pool
  CountdownStep step;
};

std::vector<Operand> start_pool(const std::vector<int>& numbers) {
  std::vector<Operand> pool;
  for (const int number : numbers) pool.push_back({number, std::to_string(number), false});
  return pool;
}

// Every allowed operation; equal operands once, in the order of the pool.
std::vector<Move> allowed_moves(const std::vector<Operand>& pool, int max_value) {
  std::vector<Move> moves;
  for (size_t i = 0; i < pool.size(); ++i) {
    for (size_t j = i + 1; j < pool.size(); ++j) {
      const bool swapped = pool[j].value > pool[i].value;
      const size_t left = swapped ? j : i, right = swapped ? i : j;
      for (const char op : kOps) {
        CountdownStep step{pool[left].value, op, pool[right].value, 0};
        if (countdown_op(step.a, op, step.b, max_value, &step.c))
          moves.push_back({left, right, step});
      }
    }
  }
  return moves;
}

std::vector<Operand> after(const std::vector<Operand>& pool, const Move& move) {
  std::vector<Operand> rest;
  for (size_t i = 0; i < pool.size(); ++i) {
    if (i != move.left && i != move.right) rest.push_back(pool[i]);
  }
  rest.push_back(
      {move.step.c, pool[move.left].inner() + move.step.op + pool[move.right].inner(), true});
  return rest;
}

void extend(const std::vector<Operand>& pool, int max_value, std::vector<CountdownStep>& steps,
            std::vector<CountdownTry>& out) {
  if (pool.size() == 1) {
    out.push_back({steps, pool[0].text, pool[0].value});
    return;
  }
  for (const Move& move : allowed_moves(pool, max_value)) {
    steps.push_back(move.step);
    extend(after(pool, move), max_value, steps, out);  // as deep as there are numbers, at most 4
    steps.pop_back();
  }
}

// Values only: what all_countdown_tries would end in, without building texts.
void collect_values(const std::vector<int>& pool, int max_value, std::set<int>& out) {
  if (pool.size() == 1) {
    out.insert(pool[0]);
    return;
  }
  for (size_t i = 0; i < pool.size(); ++i) {
    for (size_t j = i + 1; j < pool.size(); ++j) {
      std::vector<int> rest;
      for (size_t k = 0; k < pool.size(); ++k) {
        if (k != i && k != j) rest.push_back(pool[k]);
      }
      rest.push_back(0);
      const int high = std::max(pool[i], pool[j]), low = std::min(pool[i], pool[j]);
      for (const char op : kOps) {
        if (countdown_op(high, op, low, max_value, &rest.back()))
          collect_values(rest, max_value, out);
      }
    }
  }
}

const Move& closest(const std::vector<Move>& moves, int target) {
  const Move* best = &moves[0];
  for (const Move& move : moves) {
    if (std::abs(move.step.c - target) < std::abs(best->step.c - target)) best = &move;
  }
  return *best;
}

}  // namespace

bool countdown_op(int a, char op, int b, int max_value, int* c) {
  if (a < b) return false;
  int64_t value = 0;
  switch (op) {
    case '+':
      value = int64_t{a} + b;
      break;
    case '-':
      value = int64_t{a} - b;
      break;
    case '*':
      value = int64_t{a} * b;
      break;
    case '/':
      if (b == 0 || a % b != 0) return false;
      value = a / b;
      break;
    default:
      return false;
  }
  if (value < 1 || value > max_value) return false;
  *c = static_cast<int>(value);
  return true;
}

std::vector<CountdownTry> all_countdown_tries(const std::vector<int>& numbers, int max_value) {
  std::vector<CountdownTry> tries;
  std::vector<CountdownStep> steps;
  extend(start_pool(numbers), max_value, steps, tries);
  return tries;
}

std::vector<int> reachable_targets(const std::vector<int>& numbers, int max_value) {
  std::set<int> values;
  collect_values(numbers, max_value, values);
  for (const int number : numbers) values.erase(number);
  return {values.begin(), values.end()};
}

CountdownTry random_countdown_try(const std::vector<int>& numbers, int max_value, int target,
                                  double aim, Rng& rng) {
  for (int attempt = 0; attempt < 200; ++attempt) {
    std::vector<Operand> pool = start_pool(numbers);
    CountdownTry result;
    const bool aimed = aim > 0 && rng.chance(aim);
    while (pool.size() > 1) {
      const std::vector<Move> moves = allowed_moves(pool, max_value);
      if (moves.empty()) break;
      const Move move = aimed && pool.size() == 2
                            ? closest(moves, target)
                            : moves[rng.below(static_cast<uint32_t>(moves.size()))];
      pool = after(pool, move);
      result.steps.push_back(move.step);
    }
    if (pool.size() > 1) continue;
    result.expression = pool[0].text;
    result.value = pool[0].value;
    return result;
  }
  return {};
}

std::string multiset_key(std::vector<int> numbers) {
  std::sort(numbers.begin(), numbers.end());
  std::string key;
  for (const int number : numbers) key += (key.empty() ? "" : ",") + std::to_string(number);
  return key;
}

}  // namespace zeroth
