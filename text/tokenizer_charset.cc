#include "text/tokenizer_charset.h"

#include <cctype>

namespace zeroth {
namespace {

std::string hex_escape(CodePoint code) {
  static const char* digits = "0123456789ABCDEF";
  std::string hex;
  for (CodePoint rest = code; rest != 0 || hex.empty(); rest >>= 4) {
    hex.insert(hex.begin(), digits[rest & 15]);
  }
  return "\\x{" + hex + "}";
}

std::string new_ranges(const std::string& category, bool with_format) {
  std::string out;
  for (const NewCodePoints& row : new_code_points()) {
    const std::string name = row.category;
    if (!with_format && name == "Cf") continue;
    if (category == "*" || name.compare(0, category.size(), category) == 0) {
      out += range_item(row.first, row.last);
    }
  }
  return out;
}

struct Name {
  const char* name;
  const char* category;
};

// Long names of general categories (PropertyValueAliases.txt), in the squeezed spelling.
constexpr Name kCategoryNames[] = {
    {"letter", "L"},
    {"mark", "M"},
    {"number", "N"},
    {"punctuation", "P"},
    {"symbol", "S"},
    {"separator", "Z"},
    {"other", "C"},
    {"uppercaseletter", "Lu"},
    {"lowercaseletter", "Ll"},
    {"titlecaseletter", "Lt"},
    {"modifierletter", "Lm"},
    {"otherletter", "Lo"},
    {"nonspacingmark", "Mn"},
    {"spacingmark", "Mc"},
    {"enclosingmark", "Me"},
    {"decimalnumber", "Nd"},
    {"letternumber", "Nl"},
    {"othernumber", "No"},
    {"connectorpunctuation", "Pc"},
    {"dashpunctuation", "Pd"},
    {"openpunctuation", "Ps"},
    {"closepunctuation", "Pe"},
    {"initialpunctuation", "Pi"},
    {"finalpunctuation", "Pf"},
    {"otherpunctuation", "Po"},
    {"mathsymbol", "Sm"},
    {"currencysymbol", "Sc"},
    {"modifiersymbol", "Sk"},
    {"othersymbol", "So"},
    {"spaceseparator", "Zs"},
    {"lineseparator", "Zl"},
    {"paragraphseparator", "Zp"},
    {"control", "Cc"},
    {"format", "Cf"},
    {"privateuse", "Co"},
    {"unassigned", "Cn"},
};

constexpr std::string_view kCategories =
    " l m n p s z c lu ll lt lm lo mn mc me nd nl no pc pd ps pe pi pf po sm sc sk so zs zl zp cc "
    "cf co "
    "cn ";

// Scripts whose members are known for both Unicode versions; `added` came after 14.0.
constexpr struct {
  const char* name;
  const char* script;
  const char* added;
} kScripts[] = {
    {"han", "Han", "\\x{2b739}\\x{2ebf0}-\\x{2ee5d}\\x{31350}-\\x{323af}"},
    {"hiragana", "Hiragana", "\\x{1b132}"},
    {"katakana", "Katakana", "\\x{1b155}"},
    {"hangul", "Hangul", ""},
    {"latin", "Latin", "\\x{a7cb}-\\x{a7cd}\\x{a7da}-\\x{a7dc}\\x{1df25}-\\x{1df2a}"},
    {"greek", "Greek", ""},
    {"cyrillic", "Cyrillic", "\\x{1c89}\\x{1c8a}\\x{1e030}-\\x{1e06d}\\x{1e08f}"},
    {"arabic", "Arabic", "\\x{897}\\x{10ec2}-\\x{10ec4}\\x{10efc}-\\x{10eff}"},
    {"hebrew", "Hebrew", ""},
    {"thai", "Thai", ""},
    {"devanagari", "Devanagari", "\\x{11b00}-\\x{11b09}"},
    {"bopomofo", "Bopomofo", ""},
};

}  // namespace

std::string literal_item(CodePoint code) {
  if (code < 0x80 && (std::isalnum(static_cast<int>(code)) || code == ' ')) {
    return std::string(1, static_cast<char>(code));
  }
  return hex_escape(code);
}

std::string range_item(CodePoint first, CodePoint last) {
  if (first == last) return literal_item(first);
  return literal_item(first) + "-" + literal_item(last);
}

std::string render(const CharSet& set, bool negate) {
  if (set.singles.empty()) return (negate ? "[^" : "[") + set.items + "]";
  std::string any;
  if (!set.items.empty()) any = "[" + set.items + "]";
  for (const std::string& single : set.singles) any += (any.empty() ? "" : "|") + single;
  if (negate) return "(?:(?!" + any + ")(?s:.))";
  return "(?:" + any + ")";
}

// \p{category} over Unicode 16.0; `category` is a letter or two.
CharSet category_set(const std::string& category) {
  CharSet set;
  if (category == "C" || category == "Cn") {
    // What is assigned by now must not count as unassigned.
    set.singles.push_back("(?:(?![" + new_ranges("*", false) + "])\\p{" + category + "})");
    return set;
  }
  set.items = "\\p{" + category + "}" + new_ranges(category, true);
  return set;
}

CharSet white_space_set() {
  return {
      "\\x09-\\x0d "
      "\\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}",
      {}};
}

CharSet word_set() {
  CharSet set;
  for (const char* category : {"L", "M", "Nd", "Nl", "Pc"}) set.add(category_set(category));
  // Alphabetic symbols, and the digits No below U+0100 that Oniguruma's Latin table counts.
  set.items +=
      "\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}"
      "\\xb2\\xb3\\xb9\\xbc-\\xbe";
  return set;
}

CharSet hex_digit_set() { return {"0-9A-Fa-f", {}}; }

std::optional<CharSet> named_set(const std::string& name) {
  if (name.size() <= 2 && !name.empty() && kCategories.find(" " + name + " ") != kCategories.npos) {
    std::string category = name;
    category[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(category[0])));
    return category_set(category);
  }
  for (const Name& row : kCategoryNames) {
    if (name == row.name) return category_set(row.category);
  }
  for (const auto& row : kScripts) {
    if (name == row.name) return CharSet{std::string("\\p{sc:") + row.script + "}" + row.added, {}};
  }
  if (name == "lc") {
    CharSet cased = category_set("Lu");
    cased.add(category_set("Ll"));
    cased.add(category_set("Lt"));
    return cased;
  }
  if (name == "space" || name == "whitespace") return white_space_set();
  if (name == "digit") return category_set("Nd");
  if (name == "word") return word_set();
  if (name == "xdigit") return hex_digit_set();
  if (name == "ascii") return CharSet{"\\x00-\\x7f", {}};
  if (name == "any") return CharSet{"", {"(?s:.)"}};
  return std::nullopt;
}

}  // namespace zeroth
