#include "rewards/math/measures.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

namespace zeroth::math {

namespace {

using Kind = Token::Kind;

struct Unit {
  std::string_view name;
  char dimension;
  int64_t size;  // in the smallest unit of the dimension
};

// Seconds, millimetres, grams, cents, ounces, inches.
constexpr auto kUnits = std::to_array<Unit>({
    {"s", 't', 1},
    {"sec", 't', 1},
    {"secs", 't', 1},
    {"second", 't', 1},
    {"seconds", 't', 1},
    {"min", 't', 60},
    {"mins", 't', 60},
    {"minute", 't', 60},
    {"minutes", 't', 60},
    {"h", 't', 3600},
    {"hr", 't', 3600},
    {"hrs", 't', 3600},
    {"hour", 't', 3600},
    {"hours", 't', 3600},
    {"day", 't', 86400},
    {"days", 't', 86400},
    {"week", 't', 604800},
    {"weeks", 't', 604800},
    {"mm", 'l', 1},
    {"cm", 'l', 10},
    {"centimeter", 'l', 10},
    {"centimeters", 'l', 10},
    {"m", 'l', 1000},
    {"meter", 'l', 1000},
    {"meters", 'l', 1000},
    {"metre", 'l', 1000},
    {"metres", 'l', 1000},
    {"km", 'l', 1000000},
    {"kilometers", 'l', 1000000},
    {"g", 'm', 1},
    {"gram", 'm', 1},
    {"grams", 'm', 1},
    {"kg", 'm', 1000},
    {"kilogram", 'm', 1000},
    {"kilograms", 'm', 1000},
    {"cent", 'c', 1},
    {"cents", 'c', 1},
    {"dollar", 'c', 100},
    {"dollars", 'c', 100},
    {"oz", 'w', 1},
    {"ounce", 'w', 1},
    {"ounces", 'w', 1},
    {"lb", 'w', 16},
    {"lbs", 'w', 16},
    {"pound", 'w', 16},
    {"pounds", 'w', 16},
    {"in", 'i', 1},
    {"inch", 'i', 1},
    {"inches", 'i', 1},
    {"ft", 'i', 12},
    {"foot", 'i', 12},
    {"feet", 'i', 12},
    {"yd", 'i', 36},
    {"yard", 'i', 36},
    {"yards", 'i', 36},
    {"mile", 'i', 63360},
    {"miles", 'i', 63360},
});

const Unit* unit_of(const Token& token) {
  const bool word = token.is(Kind::kWord) || token.is(Kind::kLetter) || token.is(Kind::kCommand);
  if (!word) return nullptr;
  const auto it = std::find_if(kUnits.begin(), kUnits.end(),
                               [&](const Unit& u) { return u.name == token.text; });
  return it == kUnits.end() ? nullptr : &*it;
}

// "12" or "2.25"
bool read_count(const std::string& text, Rational* out) {
  if (text.empty() || text.size() > 18) return false;
  int64_t digits = 0, scale = 0;
  for (const char c : text) {
    if (c == '.' && scale == 0) {
      scale = 1;
    } else if (c >= '0' && c <= '9') {
      digits = digits * 10 + (c - '0');
      scale *= 10;
    } else {
      return false;
    }
  }
  *out = Rational(digits, std::max<int64_t>(scale, 1));
  return true;
}

}  // namespace

std::string read_date(std::string_view source) {
  if (source.size() < 8 || source.size() > 10) return {};
  std::array<int, 3> fields{};
  std::array<size_t, 3> digits{};
  char mark = 0;
  size_t field = 0;
  for (const char c : source) {
    if (c >= '0' && c <= '9') {
      fields[field] = fields[field] * 10 + (c - '0');
      ++digits[field];
    } else if ((c == '-' || c == '/') && (mark == 0 || mark == c) && field < 2 &&
               digits[field] > 0) {
      mark = c;
      ++field;
    } else {
      return {};
    }
  }
  const size_t year = digits[0] == 4 ? 0 : 2;
  if (field != 2 || digits[year] != 4 || fields[year] < 1000 || fields[year] > 2999) return {};
  for (size_t i = 0; i < 3; ++i) {
    if (i != year && (digits[i] == 0 || digits[i] > 2 || fields[i] < 1 || fields[i] > 31))
      return {};
  }
  if (fields[1] > 12 && fields[year == 0 ? 2 : 0] > 12) return {};
  return "date " + std::to_string(fields[0]) + mark + std::to_string(fields[1]) + mark +
         std::to_string(fields[2]);
}

Measure read_measure(const std::vector<Token>& tokens) {
  Measure measure;
  int64_t last_size = 0;
  int parts = 0;
  size_t i = 0;
  while (i + 1 < tokens.size()) {
    if (parts > 0 && tokens[i].is(Kind::kSeparator) && (tokens[i].ch == ',' || tokens[i].ch == '&'))
      ++i;
    if (i + 1 >= tokens.size() || !tokens[i].is(Kind::kNumber)) return {};
    const Unit* unit = unit_of(tokens[i + 1]);
    Rational count;
    if (unit == nullptr || !read_count(tokens[i].text, &count)) return {};
    if (parts > 0 && (unit->dimension != measure.dimension || unit->size >= last_size)) return {};
    measure.dimension = unit->dimension;
    last_size = unit->size;
    const Rational size(unit->size);
    fmpq_mul(count.get(), count.get(), size.get());
    fmpq_add(measure.value.get(), measure.value.get(), count.get());
    ++parts;
    i += 2;
    if (tokens[i].is(Kind::kEnd)) break;
  }
  if (parts == 0) return {};
  measure.compound = parts > 1;
  return measure;
}

}  // namespace zeroth::math
