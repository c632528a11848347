// The search language of the page and of `zeroth traces`:
//
//   step>80 reward=1 flips>0 text~"wait" len>2k task=countdown (finish=length or loop=1) not zero=1
//
// Terms next to each other must all hold; `or`, `not` and brackets as usual. A term is FIELD OP
// VALUE with = != < <= > >=, or text~"words" (whole words in this order, any case; the last may end
// with *), or a bare word or quoted phrase, which is the same as text~. Numbers may end in k or m.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace zeroth {

// A field that can be searched, for help texts and completion.
struct QueryField {
  std::string name;
  std::string help;
  std::string sql;  // expression over samples s and groups g
  bool text = false;
};
const std::vector<QueryField>& query_fields();

// A query as SQL over `samples s JOIN groups g ON g.id = s.grp`. With words that every hit must
// hold, over `texts CROSS JOIN samples s ON s.id = texts.rowid JOIN groups g ..` instead, so that
// the full-text index drives the search.
struct CompiledQuery {
  std::string match;         // value of `texts MATCH ?`; empty: the texts are not joined
  std::string where = "1";   // the rest, with `values` to bind in order
  bool uses_groups = false;  // false: `where` does not speak of g
  std::vector<std::variant<int64_t, double, std::string>> values;
  // Phrases that full-text search can only narrow down: the texts of hits must be compared with
  // them.
  struct Phrase {
    std::string text;
    bool negated = false;
  };
  std::vector<Phrase> verify;
  bool exact =
      true;  // false: `verify` cannot decide (a phrase under `or`), hits may be wider than asked
};

// Where a query is wrong: message and byte position.
struct QueryError {
  std::string what;
  size_t at = 0;
  std::string with_caret(std::string_view query) const;  // the query with a caret under the place
};

// Compiles a query; `extra_fields` are names of own scanners and word lists. Bounded: at most 4 KiB
// and 100 terms.
std::variant<CompiledQuery, QueryError> compile_query(std::string_view query,
                                                      const std::vector<std::string>& extra_fields);

// True when `text` contains the words of `phrase` next to each other as whole words, ignoring ASCII
// case.
bool contains_phrase(std::string_view text, std::string_view phrase);

}  // namespace zeroth
