// Expression trees of answers: nodes in one pool, named by index. Both sides of a comparison share
// a pool, so that equal names have equal ids. Constructors fold exact rationals within the budget.
// Not thread safe; one pool per thread.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "rewards/math/math_grader.h"
#include "rewards/math/node.h"
#include "rewards/math/rational.h"

namespace zeroth::math {

class Pool {
 public:
  explicit Pool(const MathBudget& budget) : budget_(budget) {}

  const MathBudget& budget() const { return budget_; }
  // True once a tree outgrew its budget; what was built since is not to be trusted.
  bool full() const { return too_deep_ || static_cast<int>(nodes_.size()) > budget_.nodes; }
  // Empties the pool and keeps its memory.
  void clear();
  void clear(const MathBudget& budget) {
    clear();
    budget_ = budget;
  }
  const Node& operator[](Ref ref) const { return nodes_[static_cast<size_t>(ref)]; }
  // Valid until the next node is made.
  std::span<const Ref> children(Ref ref) const {
    const Node& node = (*this)[ref];
    return {kids_.data() + node.first, static_cast<size_t>(node.count)};
  }
  std::vector<Ref> copy_children(Ref ref) const {
    auto view = children(ref);
    return {view.begin(), view.end()};
  }
  Ref child(Ref ref, int index) const {
    return kids_[static_cast<size_t>((*this)[ref].first) + static_cast<size_t>(index)];
  }
  const Rational& value(Ref ref) const { return numbers_[static_cast<size_t>((*this)[ref].data)]; }
  const std::string& name(Ref ref) const { return names_[static_cast<size_t>((*this)[ref].data)]; }
  const std::string& name_of(int32_t id) const { return names_[static_cast<size_t>(id)]; }
  bool is(Ref ref, Op op) const { return (*this)[ref].op == op; }
  bool is_number(Ref ref) const { return is(ref, Op::kNumber); }

  int32_t intern(std::string_view name);
  Ref make(Op op, std::span<const Ref> kids, int32_t data = 0, uint8_t flag = 0);
  Ref make(Op op, std::initializer_list<Ref> kids, int32_t data = 0, uint8_t flag = 0) {
    return make(op, std::span<const Ref>(kids.begin(), kids.size()), data, flag);
  }
  Ref leaf(Op op) { return make(op, std::initializer_list<Ref>{}); }
  Ref number(Rational value, bool decimal = false);
  Ref integer(int64_t value) { return number(Rational(value)); }
  Ref symbol(std::string_view name) {
    return make(Op::kSymbol, std::initializer_list<Ref>{}, intern(name));
  }
  Ref text(std::string_view words) {
    return make(Op::kText, std::initializer_list<Ref>{}, intern(words));
  }
  Ref add(Ref a, Ref b);
  Ref mul(Ref a, Ref b);
  Ref neg(Ref a);
  Ref sub(Ref a, Ref b) { return add(a, neg(b)); }
  Ref div(Ref a, Ref b);
  Ref pow(Ref base, Ref exponent);
  Ref root(Ref radicand, Ref degree);
  Ref function(Function f, std::span<const Ref> args);
  Ref function(Function f, std::initializer_list<Ref> args) {
    return function(f, std::span<const Ref>(args.begin(), args.size()));
  }

  // The tree with every occurrence of `symbol` (a kSymbol name id) replaced; kNoRef when the pool
  // is full.
  Ref substitute(Ref ref, int32_t symbol, Ref value);
  // Rebuilds `ref` with new children through the folding constructors.
  Ref rebuild(Ref ref, std::span<const Ref> kids);
  // Name ids of the free symbols, in order of first appearance.
  std::vector<int32_t> free_symbols(Ref ref) const;
  bool is_constant(Ref ref) const { return free_symbols(ref).empty(); }
  bool contains(Ref ref, Op op) const;

  // Structure hash: commutative operators ignore order, names count by spelling. Equal trees have
  // equal hashes.
  uint64_t hash(Ref ref) const;

 private:
  MathBudget budget_;
  std::vector<Node> nodes_;
  std::vector<Ref> kids_;
  std::vector<Rational> numbers_;
  std::vector<std::string> names_;
  std::unordered_map<std::string, int32_t> ids_;
  bool too_deep_ = false;
};

// Infix rendering with sorted sums and products, for people; at most `limit` bytes.
std::string format_expr(const Pool& pool, Ref ref, size_t limit = 4096);

uint64_t mix64(uint64_t x);
uint64_t hash_bytes(std::string_view bytes);

}  // namespace zeroth::math
