#include "core/files.h"
#include "core/sha256.h"
#include "kernel_test.h"
#include "kernels/limits.h"

namespace zeroth::kernels {
namespace {

TEST_CASE("docs/numerics.md quotes the contract word for word") {
  const std::string doc = read_file("docs/numerics.md");
  const std::string begin = "<!-- contract begin -->\n```text\n",
                    end = "```\n<!-- contract end -->";
  const size_t from = doc.find(begin), to = doc.find(end);
  REQUIRE(from != std::string::npos);
  REQUIRE(to != std::string::npos);
  CHECK(doc.substr(from + begin.size(), to - from - begin.size()) == contract_text());
}

TEST_CASE("the hash is that of the text") {
  CHECK(contract_hash() == sha256_hex(contract_text()));
  CHECK(contract_hash().size() == 64);
  const std::string first = contract_text().substr(0, contract_text().find('\n'));
  CHECK(first == "zeroth numeric " + contract_name(contract_hash()));
  CHECK(contract_name("8debf19ed580cba6593494f3c0241b6ed400509216929d2a86ad41d381f24981") ==
        "contract 1");
  CHECK(contract_name("826ffcb75f7f9f144c816679521eed04fdcbbe03e519bb224ea8e4b101b9c367") ==
        "contract 2");
  CHECK(contract_name("52ac61075854a968b3b2991d8d79d68f070109031db88749ddbd3ce23e59f4da") ==
        "contract 3");
  CHECK(contract_name("x") == "an unknown contract");
  CHECK(goes_on_from(contract_hash()));
  CHECK(goes_on_from("826ffcb75f7f9f144c816679521eed04fdcbbe03e519bb224ea8e4b101b9c367"));
  CHECK(goes_on_from("52ac61075854a968b3b2991d8d79d68f070109031db88749ddbd3ce23e59f4da"));
  CHECK_FALSE(goes_on_from("8debf19ed580cba6593494f3c0241b6ed400509216929d2a86ad41d381f24981"));
  CHECK_FALSE(goes_on_from("x"));
}

TEST_CASE("instruction sets: known names only, the portable one always") {
  const Restore restore;
  const auto names = supported_isas();
  CHECK(names.back() == "portable");
  for (const std::string& name : names) {
    set_isa(name);
    CHECK(isa() == name);
  }
  CHECK_THROWS(set_isa("sse9"));
  CHECK_THROWS(set_isa(""));
}

TEST_CASE("limits are measured") {
  const Limits limits = measure_limits(0.01);
  CHECK(limits.gflops > 0);
  CHECK(limits.read_gbs > 0);
  CHECK(limits.cache_gbs > 0);
}

}  // namespace
}  // namespace zeroth::kernels
