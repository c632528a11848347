#include "rewards/math/unicode.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>

namespace zeroth::math {

namespace {

struct Mapping {
  uint32_t code;
  const char* latex;
};

// Sorted by code point. A space after a command keeps it apart from following letters.
constexpr Mapping kMap[] = {
    {0x00A0, " "},
    {0x00A2, "\\cent "},
    {0x00A3, "\\pounds "},
    {0x00A5, "\\yen "},
    {0x00AC, "\\neg "},
    {0x00B0, "^{\\circ}"},
    {0x00B1, "\\pm "},
    {0x00B4, "'"},
    {0x00B5, "\\mu "},
    {0x00B7, "\\cdot "},
    {0x00BA, "^{\\circ}"},
    {0x00BC, "\\frac{1}{4}"},
    {0x00BD, "\\frac{1}{2}"},
    {0x00BE, "\\frac{3}{4}"},
    {0x00D7, "\\times "},
    {0x00F7, "\\div "},
    {0x02B9, "'"},
    {0x02DA, "^{\\circ}"},
    {0x0391, "A"},
    {0x0392, "B"},
    {0x0393, "\\Gamma "},
    {0x0394, "\\Delta "},
    {0x0395, "E"},
    {0x0396, "Z"},
    {0x0397, "H"},
    {0x0398, "\\Theta "},
    {0x0399, "I"},
    {0x039A, "K"},
    {0x039B, "\\Lambda "},
    {0x039C, "M"},
    {0x039D, "N"},
    {0x039E, "\\Xi "},
    {0x039F, "O"},
    {0x03A0, "\\Pi "},
    {0x03A1, "P"},
    {0x03A3, "\\Sigma "},
    {0x03A4, "T"},
    {0x03A5, "\\Upsilon "},
    {0x03A6, "\\Phi "},
    {0x03A7, "X"},
    {0x03A8, "\\Psi "},
    {0x03A9, "\\Omega "},
    {0x03B1, "\\alpha "},
    {0x03B2, "\\beta "},
    {0x03B3, "\\gamma "},
    {0x03B4, "\\delta "},
    {0x03B5, "\\epsilon "},
    {0x03B6, "\\zeta "},
    {0x03B7, "\\eta "},
    {0x03B8, "\\theta "},
    {0x03B9, "\\iota "},
    {0x03BA, "\\kappa "},
    {0x03BB, "\\lambda "},
    {0x03BC, "\\mu "},
    {0x03BD, "\\nu "},
    {0x03BE, "\\xi "},
    {0x03BF, "o"},
    {0x03C0, "\\pi "},
    {0x03C1, "\\rho "},
    {0x03C2, "\\sigma "},
    {0x03C3, "\\sigma "},
    {0x03C4, "\\tau "},
    {0x03C5, "\\upsilon "},
    {0x03C6, "\\phi "},
    {0x03C7, "\\chi "},
    {0x03C8, "\\psi "},
    {0x03C9, "\\omega "},
    {0x03D1, "\\theta "},
    {0x03D5, "\\phi "},
    {0x03F5, "\\epsilon "},
    {0x2002, " "},
    {0x2003, " "},
    {0x2009, " "},
    {0x200A, " "},
    {0x2010, "-"},
    {0x2011, "-"},
    {0x2012, "-"},
    {0x2013, "-"},
    {0x2014, "-"},
    {0x2015, "-"},
    {0x2016, "\\|"},
    {0x2018, "'"},
    {0x2019, "'"},
    {0x201C, "\""},
    {0x201D, "\""},
    {0x2022, "\\cdot "},
    {0x2026, "\\ldots "},
    {0x202F, " "},
    {0x2032, "'"},
    {0x2033, "''"},
    {0x2044, "/"},
    {0x205F, " "},
    {0x20AC, "\\euro "},
    {0x20B9, "\\$"},
    {0x2102, "\\mathbb{C}"},
    {0x2103, "^{\\circ}C"},
    {0x2109, "^{\\circ}F"},
    {0x210E, "h"},
    {0x2115, "\\mathbb{N}"},
    {0x211A, "\\mathbb{Q}"},
    {0x211D, "\\mathbb{R}"},
    {0x2124, "\\mathbb{Z}"},
    {0x2126, "\\Omega "},
    {0x212A, "K"},
    {0x212B, "\\text{\\AA}"},
    {0x212F, "e"},
    {0x2147, "e"},
    {0x2148, "i"},
    {0x2153, "\\frac{1}{3}"},
    {0x2154, "\\frac{2}{3}"},
    {0x2155, "\\frac{1}{5}"},
    {0x2156, "\\frac{2}{5}"},
    {0x2157, "\\frac{3}{5}"},
    {0x2158, "\\frac{4}{5}"},
    {0x2159, "\\frac{1}{6}"},
    {0x215A, "\\frac{5}{6}"},
    {0x215B, "\\frac{1}{8}"},
    {0x215C, "\\frac{3}{8}"},
    {0x215D, "\\frac{5}{8}"},
    {0x215E, "\\frac{7}{8}"},
    {0x2190, "\\leftarrow "},
    {0x2192, "\\to "},
    {0x2194, "\\iff "},
    {0x21D2, "\\Rightarrow "},
    {0x21D4, "\\iff "},
    {0x2200, "\\forall "},
    {0x2202, "\\partial "},
    {0x2203, "\\exists "},
    {0x2205, "\\emptyset "},
    {0x2206, "\\Delta "},
    {0x2207, "\\nabla "},
    {0x2208, "\\in "},
    {0x2209, "\\notin "},
    {0x220F, "\\prod "},
    {0x2211, "\\sum "},
    {0x2212, "-"},
    {0x2213, "\\mp "},
    {0x2215, "/"},
    {0x2216, "\\setminus "},
    {0x2217, "*"},
    {0x2218, "\\circ "},
    {0x2219, "\\cdot "},
    {0x221A, "\\sqrt "},
    {0x221B, "\\sqrt[3]"},
    {0x221C, "\\sqrt[4]"},
    {0x221E, "\\infty "},
    {0x2220, "\\angle "},
    {0x2223, "|"},
    {0x2225, "\\parallel "},
    {0x2227, "\\land "},
    {0x2228, "\\lor "},
    {0x2229, "\\cap "},
    {0x222A, "\\cup "},
    {0x222B, "\\int "},
    {0x2234, " "},
    {0x2236, ":"},
    {0x223C, "\\sim "},
    {0x2243, "\\approx "},
    {0x2245, "\\approx "},
    {0x2248, "\\approx "},
    {0x2260, "\\neq "},
    {0x2261, "\\equiv "},
    {0x2264, "\\leq "},
    {0x2265, "\\geq "},
    {0x2266, "\\leq "},
    {0x2267, "\\geq "},
    {0x2282, "\\subset "},
    {0x2283, "\\supset "},
    {0x2286, "\\subseteq "},
    {0x2287, "\\supseteq "},
    {0x228D, "\\cup "},
    {0x22A5, "\\perp "},
    {0x22C3, "\\cup "},
    {0x22C5, "\\cdot "},
    {0x22EF, "\\cdots "},
    {0x2308, "\\lceil "},
    {0x2309, "\\rceil "},
    {0x230A, "\\lfloor "},
    {0x230B, "\\rfloor "},
    {0x25B3, "\\triangle "},
    {0x2713, " "},
    {0x27E8, "\\langle "},
    {0x27E9, "\\rangle "},
    {0x2A7D, "\\leq "},
    {0x2A7E, "\\geq "},
    {0x3000, " "},
    {0x3001, ", "},
    {0x3002, "."},
    {0x3008, "\\langle "},
    {0x3009, "\\rangle "},
    {0x300A, " "},
    {0x300B, " "},
    {0x300C, " "},
    {0x300D, " "},
    {0x300E, " "},
    {0x300F, " "},
    {0x3010, " "},
    {0x3011, " "},
    {0x338E, "\\text{mg}"},
    {0x338F, "\\text{kg}"},
    {0x3396, "\\text{mL}"},
    {0x339C, "\\text{mm}"},
    {0x339D, "\\text{cm}"},
    {0x339E, "\\text{km}"},
    {0x33A0, "\\text{cm}^2"},
    {0x33A1, "\\text{m}^2"},
    {0x33A4, "\\text{cm}^3"},
    {0x33A5, "\\text{m}^3"},
};

static_assert(std::is_sorted(std::begin(kMap), std::end(kMap),
                             [](const Mapping& a, const Mapping& b) { return a.code < b.code; }));

const char* mapping_of(uint32_t code) {
  auto it = std::lower_bound(std::begin(kMap), std::end(kMap), code,
                             [](const Mapping& m, uint32_t c) { return m.code < c; });
  return it != std::end(kMap) && it->code == code ? it->latex : nullptr;
}

// Decodes one code point at *pos and moves past it; false (one byte skipped) when the bytes are not
// UTF-8.
bool decode(std::string_view text, size_t* pos, uint32_t* code) {
  auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  unsigned char lead = byte(*pos);
  int extra = lead < 0x80                   ? 0
              : lead >= 0xC2 && lead < 0xE0 ? 1
              : lead >= 0xE0 && lead < 0xF0 ? 2
              : lead >= 0xF0 && lead < 0xF5 ? 3
                                            : -1;
  if (extra < 0 || *pos + static_cast<size_t>(extra) >= text.size()) {
    ++*pos;
    return false;
  }
  uint32_t value = extra == 0 ? lead : lead & (0x3Fu >> extra);
  for (int i = 1; i <= extra; ++i) {
    unsigned char c = byte(*pos + static_cast<size_t>(i));
    if ((c & 0xC0) != 0x80) {
      ++*pos;
      return false;
    }
    value = value << 6 | (c & 0x3F);
  }
  bool overlong = (extra == 2 && value < 0x800) || (extra == 3 && value < 0x10000);
  if (overlong || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) {
    ++*pos;
    return false;
  }
  *pos += static_cast<size_t>(extra) + 1;
  *code = value;
  return true;
}

// The ASCII character that a superscript or subscript stands for, or 0.
char superscript(uint32_t code) {
  switch (code) {
    case 0xB9:
      return '1';
    case 0xB2:
      return '2';
    case 0xB3:
      return '3';
    case 0x2070:
      return '0';
    case 0x2071:
      return 'i';
    case 0x207A:
      return '+';
    case 0x207B:
      return '-';
    case 0x207D:
      return '(';
    case 0x207E:
      return ')';
    case 0x207F:
      return 'n';
    case 0x02E3:
      return 'x';
    case 0x1D4F:
      return 'k';
    case 0x1D50:
      return 'm';
    default:
      return code >= 0x2074 && code <= 0x2079 ? static_cast<char>('4' + (code - 0x2074)) : '\0';
  }
}

char subscript(uint32_t code) {
  if (code >= 0x2080 && code <= 0x2089) return static_cast<char>('0' + (code - 0x2080));
  switch (code) {
    case 0x208A:
      return '+';
    case 0x208B:
      return '-';
    case 0x2090:
      return 'a';
    case 0x2099:
      return 'n';
    case 0x2098:
      return 'm';
    case 0x2096:
      return 'k';
    case 0x1D62:
      return 'i';
    default:
      return '\0';
  }
}

bool is_zero_width(uint32_t code) {
  return code == 0x200B || code == 0x200C || code == 0x200D || code == 0x2060 || code == 0xFEFF ||
         code == 0x2061 || code == 0x2062 || code == 0x2063 || code == 0x2064 || code == 0x200E ||
         code == 0x200F || code == 0xAD || (code >= 0xFE00 && code <= 0xFE0F);
}

// Form feed + "rac" is what is left of "\frac" after a careless string escape, and so on.
const char* escaped_control(uint32_t code, std::string_view rest) {
  auto starts = [&](std::initializer_list<std::string_view> tails) {
    return std::any_of(tails.begin(), tails.end(),
                       [&](std::string_view t) { return rest.starts_with(t); });
  };
  if (code == '\f') return starts({"rac", "box", "loor"}) ? "\\f" : " ";
  if (code == '\b') return starts({"oxed", "egin", "inom", "eta", "ar", "ig"}) ? "\\b" : nullptr;
  if (code == '\v') return starts({"ec", "arn", "ee"}) ? "\\v" : " ";
  if (code == '\a') return starts({"lpha", "pprox", "ngle", "rc"}) ? "\\a" : nullptr;
  if (code == '\t')
    return starts({"ext{", "imes", "heta", "frac", "an{", "an(", "au"}) ? "\\t" : " ";
  if (code == '\r') return starts({"ight", "angle", "floor", "ceil", "ho"}) ? "\\r" : " ";
  return nullptr;
}

// The letters and digits of U+1D400..U+1D7FF, which only differ in their font; false for others.
bool append_mathematical(uint32_t code, std::string* out) {
  if (code >= 0x1D400 && code < 0x1D6A4) {
    const uint32_t letter = (code - 0x1D400) % 52;
    out->push_back(static_cast<char>(letter < 26 ? 'A' + letter : 'a' + letter - 26));
    return true;
  }
  if (code >= 0x1D7CE && code <= 0x1D7FF) {
    out->push_back(static_cast<char>('0' + (code - 0x1D7CE) % 10));
    return true;
  }
  if (code < 0x1D6A8 || code > 0x1D7CB) return false;
  constexpr uint32_t kVariants[] = {0x2202, 0x3B5, 0x3D1, 0x3BA, 0x3D5, 0x3C1, 0x3C0};
  const uint32_t place = (code - 0x1D6A8) % 58;  // 25 capitals, nabla, 25 small letters, variants
  const uint32_t plain = place == 17   ? 0x398
                         : place < 25  ? 0x391 + place
                         : place == 25 ? 0x2207
                         : place < 51  ? 0x3B1 + place - 26
                                       : kVariants[place - 51];
  const auto* found = mapping_of(plain);
  if (found != nullptr) out->append(found);
  return found != nullptr;
}

// A symbol of its own, which equals only itself.
void append_foreign(uint32_t code, std::string* out) {
  char buffer[16];
  std::snprintf(buffer, sizeof buffer, "\x01%x\x02", code);
  out->append(buffer);
}

// A combining mark over the digit before it: "0.3" with a bar or a dot is a recurring decimal.
// Marks over neighbours join: \overline{12}.
void append_mark(uint32_t code, std::string* out) {
  const std::string_view command = code == 0x305 || code == 0x304 ? "\\overline{" : "\\dot{";
  if (out->empty() || out->back() < '0' || out->back() > '9') return;
  const char digit = out->back();
  out->pop_back();
  size_t open = out->rfind('{');
  const bool joins = code != 0x307 && out->ends_with('}') && open != std::string::npos &&
                     out->size() - open < 40 && open + 1 >= command.size() &&
                     out->compare(open + 1 - command.size(), command.size(), command) == 0;
  if (joins) {
    out->insert(out->size() - 1, 1, digit);
  } else {
    out->append(command).append(1, digit).append("}");
  }
}

// Controls and marks of direction that have no business in an answer: they make it another one.
bool is_control(uint32_t code) {
  return code < 0x20 || (code >= 0x7F && code < 0xA0) || (code >= 0x202A && code <= 0x202E) ||
         (code >= 0x2066 && code <= 0x2069) || code == 0xFFFD;
}

void append_other(uint32_t code, std::string* out) {
  if (code >= 0xFF01 && code <= 0xFF5E) {  // full-width forms of ASCII
    out->push_back(static_cast<char>(code - 0xFF01 + 0x21));
    return;
  }
  if (code >= 0x304 && code <= 0x307) return append_mark(code, out);
  if (code >= 0x2460 && code <= 0x2473) {  // circled numbers list the statements that hold
    out->append(std::to_string(code - 0x2460 + 1)).append(", ");
    return;
  }
  if (const char* latex = mapping_of(code)) {
    out->append(latex);
    return;
  }
  if (append_mathematical(code, out)) return;
  append_foreign(code, out);
}

}  // namespace

std::string valid_utf8(std::string_view bytes, std::string_view instead) {
  std::string out;
  size_t pos = 0;
  while (pos < bytes.size()) {
    size_t begin = pos;
    uint32_t code = 0;
    const bool valid = decode(bytes, &pos, &code);
    const bool escape = code >= '\a' && code <= '\r';
    if (valid && (instead.empty() || escape || !is_control(code))) {
      out.append(bytes.substr(begin, pos - begin));
    } else if (!out.ends_with(instead)) {  // a run of them is one
      out.append(instead);
    }
  }
  return out;
}

std::string to_ascii_latex(std::string_view utf8) {
  std::string out;
  out.reserve(utf8.size() + 16);
  char open_script = '\0';  // '^' or '_' while inside a run of script characters
  auto close_script = [&] {
    if (open_script != '\0') out.push_back('}');
    open_script = '\0';
  };
  size_t pos = 0;
  while (pos < utf8.size()) {
    unsigned char c = static_cast<unsigned char>(utf8[pos]);
    if (c >= 0x20 && c < 0x7F) {
      close_script();
      out.push_back(static_cast<char>(c));
      ++pos;
      continue;
    }
    uint32_t code = 0;
    if (!decode(utf8, &pos, &code)) code = 0xFFFD;
    if (is_zero_width(code)) continue;
    char script = superscript(code), sub = subscript(code);
    if (script != '\0' || sub != '\0') {
      char kind = script != '\0' ? '^' : '_';
      if (open_script != kind) {
        close_script();
        out.push_back(kind);
        out.push_back('{');
        open_script = kind;
      }
      out.push_back(script != '\0' ? script : sub);
      continue;
    }
    close_script();
    if (code == '\n') {
      out.push_back('\n');
    } else if (code == 0x85) {
      out.push_back('\n');
    } else if (is_control(code)) {
      const char* repaired = code < 0x20 ? escaped_control(code, utf8.substr(pos)) : nullptr;
      if (repaired != nullptr) {
        out.append(repaired);
      } else {
        append_foreign(code, &out);
      }
    } else {
      append_other(code, &out);
    }
  }
  close_script();
  return out;
}

}  // namespace zeroth::math
