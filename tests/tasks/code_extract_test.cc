#include "tasks/builtin/code_extract.h"

#include <doctest/doctest.h>

#include <chrono>

#include "rewards/format.h"
#include "tasks/builtin/code_fences.h"

using namespace zeroth;

namespace {

const std::string kRight = "def f(x):\n    return x+1\n";

std::string function(const std::string& text, const std::string& prompt = "") {
  return extract_program(text, {}, {.entry = "f", .prompt = prompt});
}

std::string program(const std::string& text) {
  return extract_program(text, {}, {.program = true});
}

// Blanks at both ends do not matter to Python here.
bool same(const std::string& a, const std::string& b) { return trim(a) == trim(b); }

}  // namespace

TEST_CASE("the program in a response: tags, and a body behind its prompt") {
  const auto program = [](const std::string& text) { return function(text, "def f(x):\n"); };
  CHECK(program("<think>def f(x): bad</think><answer>def f(x): return 1</answer>") ==
        "def f(x): return 1");
  CHECK(program("Sure:\n```python\ndef f(x):\n  return 1\n```\nDone") == "def f(x):\n  return 1\n");
  CHECK(program("```\ndef f(x): a\n```\nbetter\n```\ndef f(x): b\n```") == "def f(x): b\n");
  CHECK(program("    return 1\n") == "def f(x):\n    return 1\n");
  CHECK(program("<think></think><answer>\n    return 1\n</answer>") == "def f(x):\n    return 1");
  CHECK(program("<think></think><answer> def f(x): return 1 </answer>") == "def f(x): return 1");
  CHECK(program("f = lambda x: 1") == "f = lambda x: 1");
  CHECK(same(program("```python\n    return 1\n```"), "def f(x):\n    return 1"));
  // An indentation that was lost comes back.
  CHECK(same(program("<answer>return 1</answer>"), "def f(x):\n    return 1"));
  CHECK(
      same(program("<answer>y = 1\n    return y</answer>"), "def f(x):\n    y = 1\n    return y"));
}

TEST_CASE("the program in a response: fences in every form") {
  const std::string more[] = {
      "",
      "Output:\n```\n4\n```",
      "Run it with:\n```bash\npython f.py\n```",
      "Usage:\n```python\nprint(f(3))\n```",
      "```python\nassert f(1) == 2\n```",
      "```text\nf(1) -> 2\n```",
      "```python\n>>> f(1)\n2\n```",
      "I hope that helps.",
  };
  const std::string blocks[] = {
      "```python\n" + kRight + "```\n",
      "```py\n" + kRight + "```\n",
      "```Python 3\n" + kRight + "```\n",
      "``` python\n" + kRight + "```\n",
      "```{.python}\n" + kRight + "```\n",
      "````\n" + kRight + "````\n",
      "~~~python\n" + kRight + "~~~\n",
      "Here it is: ```python\n" + kRight + "```\n",
      "- step\n  ```python\n  def f(x):\n      return x+1\n  ```\n",
      "1. step\n\n   ```\n   def f(x):\n       return x+1\n   ```\n",
      "\xEF\xBB\xBF```python\n" + kRight + "```\n",
      "<think>a ```python\ndef f(x): return 0\n``` b</think>\n```python\n" + kRight + "```\n",
      "```python\ndef f(x):\n    return x+1```\n",
  };
  for (const std::string& block : blocks) {
    for (const std::string& after : more) {
      INFO(block, after);
      CHECK(same(function(block + after), kRight));
    }
  }
  std::string windows = "```python\n" + kRight + "```\nDone\n";
  for (size_t at = 0; (at = windows.find('\n', at)) != std::string::npos; at += 2)
    windows.insert(at, "\r");
  CHECK(same(function(windows), kRight));
  CHECK(same(function("```python\n" + kRight), kRight));  // never closed
  CHECK(same(function("<answer>```python\n" + kRight + "</answer>"), kRight));
  CHECK(same(function(kRight + "```"), kRight));  // closed only
  CHECK(same(function(kRight + "```\nIt adds one."), kRight));
  for (const char* prose :
       {"`f` adds one:", "Here is the function.", "here it is:", "**Solution** as asked"}) {
    INFO(prose);
    CHECK(same(function(std::string(prose) + "\n\n" + kRight), kRight));
  }
  CHECK(same(function("```python\ndef f(x): return 0\n```\nBetter:\n```python\n" + kRight + "```"),
             kRight));
  CHECK(same(function("```json\n{\"a\": 1}\n```\n```\n" + kRight + "```"), kRight));
  CHECK(same(function("```python\n" + kRight + "```python\nprint(f(1))\n```"), kRight));
}

TEST_CASE("the program in a response: fences inside strings of the program") {
  for (const std::string quote : {"\"\"\"", "'''"}) {
    for (const std::string indent : {"    ", "  ", ""}) {
      const std::string inside = "def f(x):\n    " + quote + "\n" + indent + "```\n" + indent +
                                 "f(1) -> 2\n" + indent + "```\n    " + quote +
                                 "\n    return x+1\n";
      INFO(inside);
      CHECK(same(function("```python\n" + inside + "```\nDone."), inside));
    }
  }
  const std::string markdown = "def f(x):\n    return '```python\\n' + x + '```'\n";
  CHECK(same(function("```python\n" + markdown + "```"), markdown));
}

TEST_CASE("the program in a response: parts in several blocks") {
  CHECK(same(function("```python\ndef g(x):\n    return x\n```\nthen\n```python\ndef f(x):\n    "
                      "return g(x)+1\n```"),
             "def g(x):\n    return x\n\ndef f(x):\n    return g(x)+1"));
  CHECK(same(
      function("```python\ndef g(x):\n    return x\n```\nNot used:\n```python\n" + kRight + "```"),
      kRight));
  CHECK(same(function("```python\nimport math\n```\n```python\ndef f(x):\n    return "
                      "math.floor(x)\n```"),
             "import math\n\ndef f(x):\n    return math.floor(x)"));
  const std::string solution = "class Solution:\n    def f(self, x):\n        return x+1\n";
  CHECK(same(function("```python\n" + solution + "```\n```python\nprint(Solution().f(1))\n```"),
             solution));
}

TEST_CASE("the program in a response: programs that read and write") {
  const std::string right = "n=int(input())\nprint(n*2)\n";
  CHECK(same(program("```python\n" + right + "```\nSample run:\n```\n3\n6\n```"), right));
  CHECK(same(program("```python\n" + right + "```\n```python\n# for 3 this gives\n6\n```"), right));
  CHECK(same(program("```\n" + right + "```\nInput:\n```\n3\n```"), right));
  CHECK(same(program(right), right));
  CHECK(same(program("The program doubles it.\n\n" + right), right));
  const std::string cpp = "#include <iostream>\nint main() { int n; std::cin >> n; }\n";
  CHECK(same(extract_program("```cpp\n" + cpp + "```\nCompile:\n```sh\ng++ a.cc\n```", {},
                             {.program = true, .language = "cpp"}),
             cpp));
}

TEST_CASE("the program in a response: none") {
  const std::string block = "```python\n" + kRight + "```";
  for (const std::string& text :
       {"<think>" + block, "Okay. <think>\n" + block + "\n", "<think><think>" + block + "</think>",
        "<think>a</think><think>" + block, "<think>" + block + "</think><answer></answer>",
        "<answer>" + kRight + "</answer><answer>" + kRight + "</answer>", std::string(),
        std::string(" \n")}) {
    INFO(text);
    CHECK(function(text).empty());
  }
  CHECK(function("<think>" + block + "</think>I am not sure.") == "I am not sure.");
  FormatRules opened;
  opened.think_opened = true;
  CHECK(extract_program(block, opened, {.entry = "f"}).empty());
  CHECK(same(extract_program("t</think>" + block, opened, {.entry = "f"}), kRight));
}

TEST_CASE("the program in a response: linear in time") {
  for (const std::string unit :
       {"```", "~~~", "```python\n", "```\n", "<think>", "</think>", "<answer>", "\"\"\"", "'''\n",
        "def f(", "```python\ndef g():\n```\n", "`", "\n", " ", "# ```\n", "```a```",
        "f = ", "\\"}) {
    double seconds[2];
    for (int i = 0; i < 2; ++i) {
      std::string text = "```python\n";
      while (text.size() < (size_t{1} << (16 + 2 * i))) text += unit;
      const auto start = std::chrono::steady_clock::now();
      extract_program(text, {}, {.entry = "f", .prompt = "def f(x):\n"});
      extract_program(text, {}, {.program = true});
      seconds[i] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }
    // Four times the text; a quadratic search would take sixteen times, and minutes for a megabyte.
    MESSAGE(unit, ": ", seconds[0], " s, ", seconds[1], " s");
  }
}
