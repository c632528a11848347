#include "scan/formula.h"

#include <cctype>
#include <set>

#include "rewards/expression.h"

namespace zeroth {
namespace {

// A number, a sum or a product; a sum adds `up` and subtracts `down`, a product multiplies and
// divides.
struct Form {
  char kind = 'n';
  std::string number;
  std::multiset<std::string> up, down;

  std::string text() const {
    if (kind == 'n') return number;
    std::string out = "(";
    for (const std::string& part : up) out += kind + part;
    for (const std::string& part : down) out += (kind == '+' ? '-' : '/') + part;
    return out + ")";
  }
};

// Appends `part` to a sum or product `into`; a part of the same kind is taken apart.
void append(Form& into, const Form& part, bool inverse) {
  if (part.kind != into.kind) {
    (inverse ? into.down : into.up).insert(part.text());
    return;
  }
  (inverse ? into.down : into.up).insert(part.up.begin(), part.up.end());
  (inverse ? into.up : into.down).insert(part.down.begin(), part.down.end());
}

// Reads a text that evaluate_expression has accepted, so that it need not look for mistakes.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}
  Form sum() {
    return chain('+', '-', [this] { return product(); });
  }
  bool done() const { return at_ == text_.size(); }

 private:
  template <class Operand>
  Form chain(char up, char down, const Operand& operand) {
    Form first = operand();
    if (at_ == text_.size() || (text_[at_] != up && text_[at_] != down)) return first;
    Form form;
    form.kind = up;
    append(form, first, false);
    while (at_ < text_.size() && (text_[at_] == up || text_[at_] == down)) {
      const bool inverse = text_[at_++] == down;
      append(form, operand(), inverse);
    }
    return form;
  }

  Form product() {
    return chain('*', '/', [this] { return factor(); });
  }

  Form factor() {
    if (at_ < text_.size() && text_[at_] == '(') {
      ++at_;
      Form inner = sum();
      if (at_ < text_.size()) ++at_;
      return inner;
    }
    Form number;
    while (at_ < text_.size() && std::isdigit(static_cast<unsigned char>(text_[at_]))) {
      number.number += text_[at_++];
    }
    return number;
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

std::optional<std::string> canonical_formula(std::string_view text) {
  if (!evaluate_expression(text).ok()) return std::nullopt;
  std::string bare;
  for (const char c : text) {
    if (!std::isspace(static_cast<unsigned char>(c))) bare += c;
  }
  Reader reader(bare);
  const Form form = reader.sum();
  // Signs in front of numbers are legal to some graders and not read here.
  if (!reader.done()) return std::nullopt;
  return form.text();
}

}  // namespace zeroth
