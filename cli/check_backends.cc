// `zeroth check backends`: the operators of two back ends side by side over a checkpoint.
#include <cstdio>
#include <memory>
#include <utility>

#include "cli/commands.h"
#include "cli/usage.h"
#include "core/config.h"
#include "kernels/isa.h"
#include "kernels/reference/operators.h"
#include "learn/backend_check.h"
#include "policy/publish_config.h"

namespace zeroth {
namespace {

constexpr double kReferenceShare = 1e-5;

struct CheckBackendsOptions {
  std::string first, second;
  double bound = -1;
  bool json = false;
  PublishConfig publish;
  template <class V>
  void fields(V& v) {
    v("first", first,
      "a back end: cpu, reference, or an instruction set (avx512, avx2, neon, portable); empty: "
      "every "
      "pair that this machine has");
    v("second", second, "what it is compared with, likewise");
    v("bound", bound,
      "a difference passes up to this share of the largest magnitude in its array; -1 = none does, "
      "with the reference 1e-5",
      Range{-1, 1});
    publish.fields(v);
    v("json", json, "print one JSON object a pair");
  }
};

// The operators of that name.
class Named {
 public:
  explicit Named(const std::string& name) {
    if (name == "reference") {
      own_ = std::make_unique<kernels::ReferenceOperators>();
    } else if (name != "cpu") {
      own_ = kernels::cpu_operators(name);
    }
  }
  const kernels::Operators& operator*() const { return own_ ? *own_ : kernels::cpu_operators(); }

 private:
  std::unique_ptr<const kernels::Operators> own_;
};

using Pair = std::pair<std::string, std::string>;

std::vector<Pair> pairs_of(const CheckBackendsOptions& options) {
  if (options.first.empty() != options.second.empty()) {
    fail_usage("check backends: one back end has nothing to be compared with",
               "give --first and --second, or neither");
  }
  if (!options.first.empty()) return {{options.first, options.second}};
  std::vector<Pair> pairs;
  for (const std::string& isa : kernels::supported_isas()) {
    if (isa != "portable") pairs.emplace_back("portable", isa);
  }
  pairs.emplace_back("cpu", "reference");
  return pairs;
}

bool check_pair(const CheckBackendsOptions& options, const std::string& model, const Pair& pair) {
  const Named first(pair.first), second(pair.second);
  const bool rounds = pair.first == "reference" || pair.second == "reference";
  const double share = options.bound >= 0 ? options.bound : rounds ? kReferenceShare : 0;
  const BackendCheck check =
      check_backends(model, options.publish.element(), *first, *second, {.share = share});
  const std::string where =
      check.difference ? check.difference->text(pair.first, pair.second) : std::string();
  if (options.json) {
    Json row = {{"model", model},       {"first", pair.first},  {"second", pair.second},
                {"bound", share},       {"calls", check.calls}, {"ok", !check.difference},
                {"difference", nullptr}};
    if (check.difference) row["difference"] = where;
    std::printf("%s\n", row.dump().c_str());
  } else {
    std::printf("%-28s %-8s %-9s  %lld calls of %zu operators  %s\n", model.c_str(),
                pair.first.c_str(), pair.second.c_str(), static_cast<long long>(check.all_calls()),
                check.calls.size(), check.difference ? ("DIFFERS\n  " + where).c_str() : "ok");
  }
  std::fflush(stdout);
  return !check.difference;
}

}  // namespace

int run_check_backends(const Args& args) {
  CheckBackendsOptions options;
  if (asks_for_help(args)) return print_usage("zeroth check backends DIR.. [options]", options);
  const auto models = parse_flags(options, args, "check backends");
  if (models.empty()) {
    fail_usage("check backends takes checkpoints, got none",
               "zeroth check backends DIR.. [--first X --second Y]");
  }
  bool good = true;
  for (const std::string& model : models) {
    for (const Pair& pair : pairs_of(options)) good = check_pair(options, model, pair) && good;
  }
  return good ? 0 : static_cast<int>(ExitCode::kFailed);
}

}  // namespace zeroth
