// Case and classes of characters, as Python's str has them (Unicode's full case mappings).
#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "text/jinja/error.h"
#include "text/jinja/python_text.h"

namespace zeroth::jinja {
namespace {

// Characters whose upper or title case is more than one character (SpecialCasing.txt).
struct LongCase {
  uint32_t code;
  const char* upper;
  const char* title;
};
constexpr LongCase kLongCases[] = {
    {0xdf, "SS", "Ss"},   {0x149, "ʼN", "ʼN"},    {0x1f0, "J̌", "J̌"},      {0x390, "Ϊ́", "Ϊ́"},
    {0x3b0, "Ϋ́", "Ϋ́"},    {0x587, "ԵՒ", "Եւ"},    {0x1e96, "H̱", "H̱"},     {0x1e97, "T̈", "T̈"},
    {0x1e98, "W̊", "W̊"},   {0x1e99, "Y̊", "Y̊"},     {0x1e9a, "Aʾ", "Aʾ"},   {0x1f50, "Υ̓", "Υ̓"},
    {0x1f52, "Υ̓̀", "Υ̓̀"},   {0x1f54, "Υ̓́", "Υ̓́"},     {0x1f56, "Υ̓͂", "Υ̓͂"},     {0x1f80, "ἈΙ", "ᾈ"},
    {0x1f81, "ἉΙ", "ᾉ"},  {0x1f82, "ἊΙ", "ᾊ"},    {0x1f83, "ἋΙ", "ᾋ"},    {0x1f84, "ἌΙ", "ᾌ"},
    {0x1f85, "ἍΙ", "ᾍ"},  {0x1f86, "ἎΙ", "ᾎ"},    {0x1f87, "ἏΙ", "ᾏ"},    {0x1f88, "ἈΙ", "ᾈ"},
    {0x1f89, "ἉΙ", "ᾉ"},  {0x1f8a, "ἊΙ", "ᾊ"},    {0x1f8b, "ἋΙ", "ᾋ"},    {0x1f8c, "ἌΙ", "ᾌ"},
    {0x1f8d, "ἍΙ", "ᾍ"},  {0x1f8e, "ἎΙ", "ᾎ"},    {0x1f8f, "ἏΙ", "ᾏ"},    {0x1f90, "ἨΙ", "ᾘ"},
    {0x1f91, "ἩΙ", "ᾙ"},  {0x1f92, "ἪΙ", "ᾚ"},    {0x1f93, "ἫΙ", "ᾛ"},    {0x1f94, "ἬΙ", "ᾜ"},
    {0x1f95, "ἭΙ", "ᾝ"},  {0x1f96, "ἮΙ", "ᾞ"},    {0x1f97, "ἯΙ", "ᾟ"},    {0x1f98, "ἨΙ", "ᾘ"},
    {0x1f99, "ἩΙ", "ᾙ"},  {0x1f9a, "ἪΙ", "ᾚ"},    {0x1f9b, "ἫΙ", "ᾛ"},    {0x1f9c, "ἬΙ", "ᾜ"},
    {0x1f9d, "ἭΙ", "ᾝ"},  {0x1f9e, "ἮΙ", "ᾞ"},    {0x1f9f, "ἯΙ", "ᾟ"},    {0x1fa0, "ὨΙ", "ᾨ"},
    {0x1fa1, "ὩΙ", "ᾩ"},  {0x1fa2, "ὪΙ", "ᾪ"},    {0x1fa3, "ὫΙ", "ᾫ"},    {0x1fa4, "ὬΙ", "ᾬ"},
    {0x1fa5, "ὭΙ", "ᾭ"},  {0x1fa6, "ὮΙ", "ᾮ"},    {0x1fa7, "ὯΙ", "ᾯ"},    {0x1fa8, "ὨΙ", "ᾨ"},
    {0x1fa9, "ὩΙ", "ᾩ"},  {0x1faa, "ὪΙ", "ᾪ"},    {0x1fab, "ὫΙ", "ᾫ"},    {0x1fac, "ὬΙ", "ᾬ"},
    {0x1fad, "ὭΙ", "ᾭ"},  {0x1fae, "ὮΙ", "ᾮ"},    {0x1faf, "ὯΙ", "ᾯ"},    {0x1fb2, "ᾺΙ", "Ὰͅ"},
    {0x1fb3, "ΑΙ", "ᾼ"},  {0x1fb4, "ΆΙ", "Άͅ"},    {0x1fb6, "Α͂", "Α͂"},     {0x1fb7, "Α͂Ι", "ᾼ͂"},
    {0x1fbc, "ΑΙ", "ᾼ"},  {0x1fc2, "ῊΙ", "Ὴͅ"},    {0x1fc3, "ΗΙ", "ῌ"},    {0x1fc4, "ΉΙ", "Ήͅ"},
    {0x1fc6, "Η͂", "Η͂"},   {0x1fc7, "Η͂Ι", "ῌ͂"},    {0x1fcc, "ΗΙ", "ῌ"},    {0x1fd2, "Ϊ̀", "Ϊ̀"},
    {0x1fd3, "Ϊ́", "Ϊ́"},   {0x1fd6, "Ι͂", "Ι͂"},     {0x1fd7, "Ϊ͂", "Ϊ͂"},     {0x1fe2, "Ϋ̀", "Ϋ̀"},
    {0x1fe3, "Ϋ́", "Ϋ́"},   {0x1fe4, "Ρ̓", "Ρ̓"},     {0x1fe6, "Υ͂", "Υ͂"},     {0x1fe7, "Ϋ͂", "Ϋ͂"},
    {0x1ff2, "ῺΙ", "Ὼͅ"},  {0x1ff3, "ΩΙ", "ῼ"},    {0x1ff4, "ΏΙ", "Ώͅ"},    {0x1ff6, "Ω͂", "Ω͂"},
    {0x1ff7, "Ω͂Ι", "ῼ͂"},  {0x1ffc, "ΩΙ", "ῼ"},    {0xfb00, "FF", "Ff"},   {0xfb01, "FI", "Fi"},
    {0xfb02, "FL", "Fl"}, {0xfb03, "FFI", "Ffi"}, {0xfb04, "FFL", "Ffl"}, {0xfb05, "ST", "St"},
    {0xfb06, "ST", "St"}, {0xfb13, "ՄՆ", "Մն"},   {0xfb14, "ՄԵ", "Մե"},   {0xfb15, "ՄԻ", "Մի"},
    {0xfb16, "ՎՆ", "Վն"}, {0xfb17, "ՄԽ", "Մխ"},
};

const LongCase* long_case(uint32_t code) {
  const auto* row =
      std::lower_bound(std::begin(kLongCases), std::end(kLongCases), code,
                       [](const LongCase& entry, uint32_t wanted) { return entry.code < wanted; });
  return row != std::end(kLongCases) && row->code == code ? row : nullptr;
}

utf8proc_category_t category(uint32_t code) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code));
}

void append_upper(std::string& out, uint32_t code) {
  if (const LongCase* entry = long_case(code)) {
    out += entry->upper;
  } else {
    append_character(out,
                     static_cast<uint32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(code))));
  }
}

void append_title(std::string& out, uint32_t code) {
  if (const LongCase* entry = long_case(code)) {
    out += entry->title;
  } else {
    append_character(out,
                     static_cast<uint32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(code))));
  }
}

bool is_cased(uint32_t code) { return is_upper(code) || is_lower(code) || is_title(code); }

// Case_Ignorable: marks, format characters, modifiers, and what stands inside words.
bool is_passed_over(uint32_t code) {
  switch (category(code)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
      return true;
    default:
      return std::strchr("'.:", static_cast<int>(code)) != nullptr
                 ? code != 0 && code < 0x80
                 : code == 0xb7 || code == 0x387 || code == 0x55f || code == 0x5f4 ||
                       code == 0x2018 || code == 0x2019 || code == 0x2024 || code == 0x2027 ||
                       code == 0xfe13 || code == 0xfe52 || code == 0xfe55 || code == 0xff07 ||
                       code == 0xff0e || code == 0xff1a;
  }
}

// Whether a capital sigma at `at` ends a word.
bool is_final_sigma(const std::vector<uint32_t>& codes, size_t at) {
  size_t before = at;
  while (before > 0 && is_passed_over(codes[before - 1])) --before;
  if (before == 0 || !is_cased(codes[before - 1])) return false;
  size_t behind = at + 1;
  while (behind < codes.size() && is_passed_over(codes[behind])) ++behind;
  return behind == codes.size() || !is_cased(codes[behind]);
}

std::vector<uint32_t> decoded(std::string_view text) {
  std::vector<uint32_t> codes;
  while (!text.empty()) {
    const Character c = first_character(text);
    codes.push_back(c.code);
    text.remove_prefix(static_cast<size_t>(c.bytes));
  }
  return codes;
}

void append_lower(std::string& out, const std::vector<uint32_t>& codes, size_t at) {
  constexpr uint32_t kSigma = 0x3a3, kFinalSigma = 0x3c2, kDottedI = 0x130;
  const uint32_t code = codes[at];
  if (code == kSigma && is_final_sigma(codes, at)) return append_character(out, kFinalSigma);
  if (code == kDottedI) {
    out += "i\u0307";
    return;
  }
  append_character(out,
                   static_cast<uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code))));
}

bool within(uint32_t code, uint32_t first, uint32_t last) { return code >= first && code <= last; }

}  // namespace

bool is_space(uint32_t c) {
  return within(c, 0x09, 0x0d) || within(c, 0x1c, 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         within(c, 0x2000, 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
         c == 0x3000;
}

bool is_printable(uint32_t code) {
  if (code < 0x7f) return code >= 0x20;
  switch (category(code)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    default:
      return true;
  }
}

bool is_alphabetic(uint32_t code) {
  switch (category(code)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return true;
    default:
      return false;
  }
}

bool is_decimal(uint32_t code) { return category(code) == UTF8PROC_CATEGORY_ND; }

bool is_digit(uint32_t c) {
  return is_decimal(c) || c == 0xb2 || c == 0xb3 || c == 0xb9 || within(c, 0x1369, 0x1371) ||
         c == 0x19da || c == 0x2070 || within(c, 0x2074, 0x2079) || within(c, 0x2080, 0x2089) ||
         within(c, 0x2460, 0x2468) || within(c, 0x2474, 0x247c) || within(c, 0x2488, 0x2490) ||
         c == 0x24ea || within(c, 0x24f5, 0x24fd) || c == 0x24ff || within(c, 0x2776, 0x277e) ||
         within(c, 0x2780, 0x2788) || within(c, 0x278a, 0x2792) || within(c, 0x10a40, 0x10a43) ||
         within(c, 0x10e60, 0x10e68) || within(c, 0x11052, 0x1105a) || within(c, 0x1f100, 0x1f10a);
}

bool is_numeric(uint32_t code) {
  const utf8proc_category_t kind = category(code);
  if (kind == UTF8PROC_CATEGORY_LO && code >= 0x3400) {
    fail_unsupported("isnumeric() or isalnum() of an ideograph");
  }
  return kind == UTF8PROC_CATEGORY_ND || kind == UTF8PROC_CATEGORY_NL ||
         kind == UTF8PROC_CATEGORY_NO;
}

bool is_upper(uint32_t c) {
  return category(c) == UTF8PROC_CATEGORY_LU || within(c, 0x2160, 0x216f) ||
         within(c, 0x24b6, 0x24cf) || within(c, 0x1f130, 0x1f149) || within(c, 0x1f150, 0x1f169) ||
         within(c, 0x1f170, 0x1f189);
}

bool is_lower(uint32_t c) {
  return category(c) == UTF8PROC_CATEGORY_LL || c == 0xaa || c == 0xba || within(c, 0x2b0, 0x2b8) ||
         c == 0x2c0 || c == 0x2c1 || within(c, 0x2e0, 0x2e4) || c == 0x345 || c == 0x37a ||
         within(c, 0x1d2c, 0x1d6a) || c == 0x1d78 || within(c, 0x1d9b, 0x1dbf) || c == 0x2071 ||
         c == 0x207f || within(c, 0x2090, 0x209c) || within(c, 0x2170, 0x217f) ||
         within(c, 0x24d0, 0x24e9) || c == 0x2c7c || c == 0x2c7d || c == 0xa69c || c == 0xa69d ||
         c == 0xa770 || c == 0xa7f8 || c == 0xa7f9 || within(c, 0xab5c, 0xab5f);
}

bool is_title(uint32_t code) { return category(code) == UTF8PROC_CATEGORY_LT; }

std::string upper_case(std::string_view text) {
  std::string out;
  for (const uint32_t code : decoded(text)) append_upper(out, code);
  return out;
}

std::string lower_case(std::string_view text) {
  const std::vector<uint32_t> codes = decoded(text);
  std::string out;
  for (size_t i = 0; i < codes.size(); ++i) append_lower(out, codes, i);
  return out;
}

std::string title_case(std::string_view text) {
  const std::vector<uint32_t> codes = decoded(text);
  std::string out;
  bool inside = false;
  for (size_t i = 0; i < codes.size(); ++i) {
    if (inside) {
      append_lower(out, codes, i);
    } else {
      append_title(out, codes[i]);
    }
    inside = is_cased(codes[i]);
  }
  return out;
}

std::string capitalized(std::string_view text) {
  const std::vector<uint32_t> codes = decoded(text);
  std::string out;
  for (size_t i = 0; i < codes.size(); ++i) {
    if (i == 0) {
      append_title(out, codes[i]);
    } else {
      append_lower(out, codes, i);
    }
  }
  return out;
}

std::string swapped_case(std::string_view text) {
  const std::vector<uint32_t> codes = decoded(text);
  std::string out;
  for (size_t i = 0; i < codes.size(); ++i) {
    if (is_upper(codes[i])) {
      append_lower(out, codes, i);
    } else if (is_lower(codes[i])) {
      append_upper(out, codes[i]);
    } else {
      append_character(out, codes[i]);
    }
  }
  return out;
}

std::string case_folded(std::string_view text) {
  utf8proc_uint8_t* folded = nullptr;
  const utf8proc_ssize_t length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &folded, UTF8PROC_CASEFOLD);
  if (length < 0) return std::string(text);
  const std::string out(reinterpret_cast<const char*>(folded), static_cast<size_t>(length));
  std::free(folded);
  return out;
}

}  // namespace zeroth::jinja
