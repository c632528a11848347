#include "rewards/math/parse_environment.h"

#include <algorithm>
#include <array>

#include "rewards/math/arith.h"
#include "rewards/math/parse_relation.h"
#include "rewards/math/token_text.h"

namespace zeroth::math {

namespace {

using Kind = Token::Kind;

enum class Environment { kMatrix, kDeterminant, kRows, kUnknown };

Environment environment_of(std::string_view name) {
  static constexpr auto kRowNames =
      std::to_array<std::string_view>({"cases", "dcases", "aligned", "align", "gathered", "gather",
                                       "split", "equation", "eqnarray"});
  if (name == "vmatrix") return Environment::kDeterminant;
  if (name.ends_with("matrix") || name == "array" || name == "tabular") return Environment::kMatrix;
  const bool rows = std::find(kRowNames.begin(), kRowNames.end(), name) != kRowNames.end();
  return rows ? Environment::kRows : Environment::kUnknown;
}

// The cells of an environment, row by row.
class CellTable {
 public:
  void add(Ref cell) {
    cells_.push_back(cell);
    ++in_row_;
  }
  // False when the row that ends is not as long as the first one. An empty row does not count.
  bool end_row() {
    if (in_row_ == 0) return true;
    if (columns_ == 0) columns_ = in_row_;
    return columns_ == std::exchange(in_row_, 0);
  }
  const std::vector<Ref>& cells() const { return cells_; }
  int in_row() const { return in_row_; }
  int columns() const { return columns_; }

 private:
  std::vector<Ref> cells_;
  int in_row_ = 0;  // cells of the row that is being read
  int columns_ = 0;
};

bool at_end_of_cell(const TokenCursor& tokens) {
  return tokens.at().is(Kind::kCell) || tokens.at().is(Kind::kSeparator) ||
         tokens.at_command("end");
}

// "n is even" behind the "n", as a condition in words; `value` where a value is asked for.
Ref parse_condition_in_words(ParseState& state, Ref value, bool condition) {
  TokenCursor& tokens = state.tokens;
  const size_t begin = tokens.place() - 1;
  while (tokens.at().is(Kind::kWord) || (tokens.at().is(Kind::kLetter) && tokens.at().upright))
    tokens.advance();
  return condition ? text_of_tokens(state.pool, tokens, begin, tokens.place()) : value;
}

// One cell of aligned rows or cases: its words are passed over, but for a condition's.
bool parse_cell_of_rows(ParseState& state, CellTable* table) {
  TokenCursor& tokens = state.tokens;
  const bool condition = table->in_row() == 1;
  if (condition && (tokens.at().text == "otherwise" || tokens.at().text == "else"))
    table->add(state.pool.text("otherwise"));
  while (tokens.at().is(Kind::kWord)) tokens.advance();  // "if", "for"
  if (at_end_of_cell(tokens)) return true;
  const bool second = table->in_row() == 1;
  Ref cell = parse_relation(state);
  if (cell == kNoRef) return false;
  if (tokens.at().is(Kind::kWord)) cell = parse_condition_in_words(state, cell, second);
  table->add(cell);
  return true;
}

bool parse_cell_of_matrix(ParseState& state, CellTable* table) {
  if (at_end_of_cell(state.tokens)) return true;
  const Ref cell = parse_relation(state);
  if (cell != kNoRef) table->add(cell);
  return cell != kNoRef;
}

// The cells up to \end{..}, which is passed. False when one is not understood.
bool parse_cells(ParseState& state, Environment environment, CellTable* table) {
  TokenCursor& tokens = state.tokens;
  const Pool& pool = state.pool;
  const bool rows = environment == Environment::kRows;
  const auto limit = static_cast<size_t>(pool.budget().set_elements);
  while (!tokens.at_command("end")) {
    if (tokens.done() || pool.full() || table->cells().size() > limit) return false;
    if (tokens.at().is(Kind::kCell) || tokens.at().is(Kind::kSeparator)) {
      const bool row_ends = tokens.at().is(Kind::kSeparator, 'n');
      if (row_ends && !table->end_row() && !rows) return false;
      tokens.advance();
      continue;
    }
    if (!(rows ? parse_cell_of_rows(state, table) : parse_cell_of_matrix(state, table)))
      return false;
  }
  if (pool.full() || table->cells().size() > limit) return false;
  tokens.advance();
  tokens.raw_group();
  return !table->cells().empty();
}

}  // namespace

Ref parse_environment(ParseState& state) {
  Nesting nesting(state);
  if (state.depth > state.pool.budget().depth) return kNoRef;
  Pool& pool = state.pool;
  std::string name = state.tokens.raw_group();
  std::erase(name, '*');
  if (name == "array" || name == "tabular") state.tokens.raw_group();  // alignment of columns
  const Environment environment = environment_of(name);
  CellTable table;
  if (environment == Environment::kUnknown || !parse_cells(state, environment, &table))
    return kNoRef;
  const std::vector<Ref>& cells = table.cells();
  const bool even = table.end_row();
  if (environment == Environment::kRows) {
    if (table.columns() == 1 && even)
      return cells.size() == 1 ? cells[0] : pool.make(Op::kList, cells);
    const bool pairs = table.columns() == 2 && even;
    return pool.make(Op::kOpaque, cells, pool.intern("cases"), pairs ? kCasesFlag : 0);
  }
  if (!even) return kNoRef;
  const Ref matrix = pool.make(Op::kMatrix, cells, table.columns());
  if (environment == Environment::kMatrix) return matrix;
  const Ref det = determinant(pool, matrix);
  return det != kNoRef ? det : matrix;
}

}  // namespace zeroth::math
