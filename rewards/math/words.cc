// The vocabularies of the lexer.
#include <algorithm>
#include <array>

#include "core/ascii.h"
#include "rewards/math/expr.h"
#include "rewards/math/lexer_words.h"

namespace zeroth::math {

namespace {

constexpr auto kKnownNames = std::to_array<std::string_view>({
    "Gamma",   "Re",     "abs",    "alpha",  "arccos", "arccot", "arccsc",   "arcosh",
    "arcsec",  "arcsin", "arctan", "arsinh", "artanh", "beta",   "binom",    "ceil",
    "cos",     "cosec",  "cosh",   "cot",    "coth",   "csc",    "delta",    "det",
    "epsilon", "exp",    "floor",  "gamma",  "gcd",    "inf",    "infinity", "infty",
    "lambda",  "lcm",    "lg",     "ln",     "log",    "max",    "min",      "mod",
    "mu",      "omega",  "phi",    "pi",     "psi",    "rho",    "sec",      "sigma",
    "sin",     "sinh",   "sqrt",   "tan",    "tanh",   "tau",    "theta",
});

constexpr auto kUnits = std::to_array<std::string_view>({
    "AM",          "Bq",         "EUR",        "GBP",         "GHz",         "GeV",
    "Gy",          "Hz",         "J",          "L",           "MHz",         "MJ",
    "MPa",         "MW",         "MeV",        "N",           "PM",          "Pa",
    "Sv",          "Torr",       "USD",        "V",           "W",           "Wb",
    "acre",        "acres",      "am",         "amu",         "apples",      "atm",
    "bits",        "boxes",      "bytes",      "cal",         "calories",    "cans",
    "cc",          "cd",         "cent",       "centimeter",  "centimeters", "centimetre",
    "centimetres", "cents",      "cm",         "cups",        "dB",          "day",
    "days",        "deg",        "degree",     "degrees",     "digits",      "dm",
    "dollar",      "dollars",    "eV",         "euros",       "feet",        "foot",
    "fps",         "ft",         "g",          "gal",         "gallon",      "gallons",
    "gm",          "gram",       "grams",      "h",           "hPa",         "hectare",
    "hectares",    "hour",       "hours",      "hr",          "hrs",         "in",
    "inch",        "inches",     "items",      "joule",       "joules",      "kHz",
    "kJ",          "kN",         "kPa",        "kV",          "kW",          "kWh",
    "kcal",        "keV",        "kelvin",     "kg",          "kilogram",    "kilograms",
    "kilometer",   "kilometers", "kilometre",  "kilometres",  "km",          "kmh",
    "kmph",        "kph",        "kt",         "l",           "lb",          "lbs",
    "liter",       "liters",     "litre",      "litres",      "lm",          "m",
    "mA",          "mL",         "mN",         "mT",          "mV",          "mW",
    "meter",       "meters",     "metre",      "metres",      "mg",          "mi",
    "mile",        "miles",      "millimeter", "millimeters", "millimetres", "min",
    "mins",        "minute",     "minutes",    "ml",          "mm",          "mmHg",
    "mmol",        "mol",        "moles",      "month",       "months",      "mph",
    "ms",          "nF",         "newton",     "newtons",     "nm",          "ohm",
    "ohms",        "ounces",     "oz",         "pF",          "people",      "persons",
    "pm",          "points",     "pound",      "pounds",      "ppm",         "rad",
    "radian",      "radians",    "rpm",        "rs",          "rupees",      "s",
    "sec",         "second",     "seconds",    "sq",          "square",      "students",
    "tesla",       "ton",        "tonne",      "tonnes",      "tons",        "torr",
    "uF",          "unit",       "units",      "volt",        "volts",       "watt",
    "watts",       "ways",       "week",       "weeks",       "yard",        "yards",
    "yd",          "year",       "years",      "yr",          "yrs",
});

// Units in upright letters only; in italics these letters are variables and constants.
constexpr auto kUprightUnits = std::to_array<std::string_view>(
    {"A", "C", "F", "H", "K", "M", "S", "T", "au", "bar", "ly", "pc", "sr", "u"});

// Commands that only lay out.
constexpr auto kIgnored = std::to_array<std::string_view>(
    {"left",      "right",       "middle",  "big",      "Big",        "bigg",
     "Bigg",      "bigl",        "bigr",    "Bigl",     "Bigr",       "biggl",
     "biggr",     "Biggl",       "Biggr",   "mleft",    "mright",     "displaystyle",
     "textstyle", "scriptstyle", "limits",  "nolimits", "strut",      "mathstrut",
     "nonumber",  "notag",       "hline",   "rm",       "bf",         "it",
     "sf",        "tt",          "cal",     "pounds",   "euro",       "yen",
     "cent",      "mathop",      "mathrel", "mathbin",  "unicode",    "centering",
     "noindent",  "blacksquare", "square",  "hfill",    "allowbreak", "relax",
     "protect",   "ensuremath",  "ast",     "large",    "Large",      "LARGE",
     "huge",      "Huge",        "small",   "tiny",     "normalsize", "footnotesize",
     "scriptsize"});
constexpr auto kSpaces =
    std::to_array<std::string_view>({"quad", "qquad", "space", "thinspace", "enspace", "enskip",
                                     "medspace", "negthinspace", "newline", "par"});
// Commands whose argument vanishes with them.
constexpr auto kDropArgument = std::to_array<std::string_view>(
    {"hspace", "vspace", "phantom", "hphantom", "vphantom", "label", "tag", "color", "textcolor",
     "kern", "cancel", "bcancel", "xcancel", "sout"});
// Commands whose argument is prose.
constexpr auto kText = std::to_array<std::string_view>(
    {"text", "textbf", "textit", "textrm", "textnormal", "textsf", "texttt", "textup", "mbox",
     "hbox", "mathrm", "operatorname", "mathsf", "mathtt", "textmd", "emph"});
// Commands that only change the font of a formula.
constexpr auto kFont = std::to_array<std::string_view>(
    {"mathbf", "mathit", "mathcal", "mathscr", "mathfrak", "boldsymbol", "bm", "pmb", "underline",
     "boxed", "fbox", "mathnormal", "underbrace"});

// Words of two or three letters that are no products of variables.
constexpr auto kShortWords = std::to_array<std::string_view>(
    {"for", "if", "the", "no", "No", "NO", "yes", "Yes", "YES", "not", "but", "Rs"});

struct Relation {
  std::string_view name;
  char code;
};
constexpr auto kRelations =
    std::to_array<Relation>({{"le", kLe},           {"leq", kLe},          {"leqslant", kLe},
                             {"leqq", kLe},         {"ge", kGe},           {"geq", kGe},
                             {"geqslant", kGe},     {"geqq", kGe},         {"lt", kLt},
                             {"gt", kGt},           {"ne", kNe},           {"neq", kNe},
                             {"approx", kApprox},   {"approxeq", kApprox}, {"simeq", kApprox},
                             {"doteq", kApprox},    {"sim", kApprox},      {"thickapprox", kApprox},
                             {"in", kIn},           {"notin", kNotIn},     {"subset", kSubset},
                             {"subseteq", kSubset}, {"equiv", kCongruent}, {"colon", ':'},
                             {"coloneqq", kEq}});

struct Named {
  std::string_view name;
  Token::Kind kind;
  char ch;
};

using Kind = Token::Kind;

constexpr auto kNamed =
    std::to_array<Named>({{"times", Kind::kOperator, '*'},  {"cdot", Kind::kOperator, '*'},
                          {"div", Kind::kOperator, '/'},    {"pm", Kind::kOperator, 'P'},
                          {"mp", Kind::kOperator, 'M'},     {"langle", Kind::kOpen, 'A'},
                          {"rangle", Kind::kClose, 'A'},    {"lfloor", Kind::kOpen, 'F'},
                          {"rfloor", Kind::kClose, 'F'},    {"lceil", Kind::kOpen, 'C'},
                          {"rceil", Kind::kClose, 'C'},     {"lbrace", Kind::kOpen, 'S'},
                          {"rbrace", Kind::kClose, 'S'},    {"lbrack", Kind::kOpen, '['},
                          {"rbrack", Kind::kClose, ']'},    {"lparen", Kind::kOpen, '('},
                          {"rparen", Kind::kClose, ')'},    {"lvert", Kind::kBar, '|'},
                          {"rvert", Kind::kBar, '|'},       {"vert", Kind::kBar, '|'},
                          {"mid", Kind::kBar, '|'},         {"lVert", Kind::kBar, 'N'},
                          {"rVert", Kind::kBar, 'N'},       {"Vert", Kind::kBar, 'N'},
                          {"degree", Kind::kDegree, 0},     {"textdegree", Kind::kDegree, 0},
                          {"prime", Kind::kOperator, '\''}, {"lor", Kind::kSeparator, 'o'},
                          {"land", Kind::kSeparator, '&'},  {"vee", Kind::kSeparator, 'o'},
                          {"wedge", Kind::kSeparator, '&'}, {"and", Kind::kSeparator, '&'},
                          {"or", Kind::kSeparator, 'o'}});

template <size_t N>
bool one_of(std::string_view word, const std::array<std::string_view, N>& list) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

using ascii::is_letter;
bool is_blank(char c) { return c == ' ' || c == '\n' || c == '\t'; }

template <size_t N>
bool contains(const std::array<std::string_view, N>& sorted, std::string_view word) {
  return std::binary_search(sorted.begin(), sorted.end(), word);
}

static_assert(std::is_sorted(kKnownNames.begin(), kKnownNames.end()));
static_assert(std::is_sorted(kUnits.begin(), kUnits.end()));
static_assert(std::is_sorted(kUprightUnits.begin(), kUprightUnits.end()));

}  // namespace

bool is_known_name(std::string_view name) { return contains(kKnownNames, name); }
bool is_unit(std::string_view word) { return contains(kUnits, word); }
bool is_upright_unit(std::string_view word) { return contains(kUprightUnits, word); }

bool is_layout_command(std::string_view name) { return one_of(name, kIgnored); }
bool is_space_command(std::string_view name) { return one_of(name, kSpaces); }
bool drops_argument(std::string_view name) { return one_of(name, kDropArgument); }
bool is_text_command(std::string_view name) { return one_of(name, kText); }
bool is_font_command(std::string_view name) { return one_of(name, kFont); }
bool is_short_word(std::string_view run) { return one_of(run, kShortWords); }

char relation_code(std::string_view command) {
  for (const Relation& relation : kRelations) {
    if (relation.name == command) return relation.code;
  }
  return 0;
}

NamedToken named_command(std::string_view command) {
  for (const Named& named : kNamed) {
    if (named.name == command) return {named.kind, named.ch};
  }
  return {Kind::kEnd, 0};
}

// A word of three letters that is no function name, and another of two: prose, not a product.
bool looks_like_prose(std::string_view source) {
  int words = 0, runs = 0;
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\\') {
      // Prose holds no commands other than text groups; skip name and group.
      while (i + 1 < source.size() && is_letter(source[i + 1])) ++i;
      if (i + 1 < source.size() && source[i + 1] == '{') {
        int depth = 0;
        for (++i; i < source.size(); ++i) {
          if (source[i] == '{') ++depth;
          if (source[i] == '}' && --depth == 0) break;
        }
      }
      continue;
    }
    if (!is_letter(source[i])) continue;
    size_t begin = i;
    while (i < source.size() && is_letter(source[i])) ++i;
    std::string_view run = source.substr(begin, i - begin);
    bool spaced =
        (begin == 0 || is_blank(source[begin - 1])) ||
        (i == source.size() || is_blank(source[i]) || source[i] == ',' || source[i] == '.');
    bool word = spaced && !is_known_name(run) && run != "and" && run != "or";
    words += word && run.size() >= 3;
    runs += word && run.size() >= 2;
    --i;
  }
  return words >= 1 && runs >= 2;
}

}  // namespace zeroth::math
