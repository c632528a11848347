#include "model/formats/merge.h"

#include <doctest/doctest.h>

#include "core/error.h"
#include "core/temporary_folder.h"
#include "model/layout.h"

using namespace zeroth;
namespace fs = std::filesystem;

namespace {

// A random checkpoint of the tiny base's shape.
fs::path made(const fs::path& folder, uint64_t seed) {
  const PolicyConfig config = PolicyConfig::from_file("tests/data/tiny_base/config.json");
  Parameters parameters(make_layout(config).infos);
  initialize(config, seed, parameters);
  fs::create_directories(folder);
  write_checkpoint(folder, config, parameters, {});
  return folder;
}

}  // namespace

TEST_CASE("averages and task arithmetic, value by value") {
  TemporaryFolder folder;
  const fs::path a = made(folder.path() / "a", 1), b = made(folder.path() / "b", 2),
                 c = made(folder.path() / "c", 3);
  const ModelValues va = load_values(a), vb = load_values(b), vc = load_values(c);
  const auto x = va.parameters.values(), y = vb.parameters.values(), z = vc.parameters.values();
  const ModelValues mean = merge({a, b}, {});
  const ModelValues shares = merge({a, b}, {{3, 1}, {}});
  const ModelValues added = merge({a, b}, {{1, -0.5}, c});
  const ModelValues same = merge({a}, {});
  for (const ParameterInfo& info : va.parameters.infos()) {
    for (int64_t i = info.offset; i < info.offset + info.count; ++i) {
      const double p = x[i], q = y[i], r = z[i];
      REQUIRE(same.parameters.values()[i] == x[i]);
      REQUIRE(mean.parameters.values()[i] == static_cast<float>(0.5 * p + 0.5 * q));
      REQUIRE(shares.parameters.values()[i] == static_cast<float>(0.75 * p + 0.25 * q));
      REQUIRE(added.parameters.values()[i] == static_cast<float>(r + (p - r) + -0.5 * (q - r)));
    }
  }
}

TEST_CASE("models of other shapes and wrong weights are refused") {
  TemporaryFolder folder;
  const fs::path a = made(folder.path() / "a", 1);
  CHECK_THROWS_WITH_AS(merge({a, "tests/data/parity/llama"}, {}),
                       doctest::Contains("another shape"), Error);
  CHECK_THROWS_WITH_AS(merge({a, a}, {{1, 2, 3}, {}}), doctest::Contains("3 weights for 2"), Error);
  CHECK_THROWS_WITH_AS(merge({a, a}, {{1, -1}, {}}), doctest::Contains("add up to 0"), Error);
  CHECK_THROWS_AS(merge({}, {}), Error);
}
