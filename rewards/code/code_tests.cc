// Reads the tests of data rows: columns here, Python in the sandbox.
#include <algorithm>

#include "core/error.h"
#include "rewards/code/code_columns.h"
#include "rewards/code/code_grader.h"
#include "rewards/code/job.h"

namespace zeroth {
namespace {

// What rewriter.py found out about one row; `json` is the text of it.
void take_found(CodeTests& out, const std::string& json) {
  PyValue found;
  if (!parse_value(json, /*plain=*/true, found))
    fail("cannot read the tests", "are they valid Python?");
  const auto flag = [&](const char* name) {
    const PyValue* value = field(found, name);
    return value != nullptr && value->boolean;
  };
  if (const PyValue* refused = field(found, "refused"))
    fail(refused->text, "give asserts, test functions, unittest classes or check(candidate)");
  out.packages = flag("packages");
  if (const PyValue* values = field(found, "values")) {
    out.kind = CodeTests::Kind::kValues;
    for (const PyValue& item : values->items) {
      CodeTest test;
      const PyValue *call = field(item, "call"), *expected = field(item, "expected");
      if (call == nullptr || expected == nullptr ||
          !parse_value(expected->text, /*plain=*/false, test.expected))
        fail("cannot read an expected value of the tests", "is it nested more than 200 deep?");
      test.call = call->text;
      out.tests.push_back(std::move(test));
    }
    return;
  }
  out.kind = CodeTests::Kind::kJudged;
  out.judged = json;
  const PyValue* total = field(found, "total");
  if (total == nullptr || field(found, "units") == nullptr)
    fail("cannot read the tests", "are they valid Python?");
  out.judged_total = std::atoi(total->text.c_str());
  out.keeps_classes = flag("keeps_classes");
  out.captures = flag("captures");
  out.weak = flag("weak");
}

// Rows of one job; a job takes Python half a second to start for, and a row a few milliseconds.
constexpr size_t kRowsOfJob = 24;

struct Batch {
  std::vector<size_t> places;
  std::string nonce;
};

void take_report(std::vector<LoadedTests>& loaded, const Batch& batch,
                 const SandboxResult& result) {
  std::vector<char> answered(batch.places.size(), 0);
  for (size_t at = 0; at < result.report.size();) {
    const size_t end = std::min(result.report.find('\n', at), result.report.size());
    const std::string line = result.report.substr(at, end - at);
    at = end + 1;
    if (line.compare(0, batch.nonce.size() + 1, batch.nonce + " ") != 0) continue;
    char* rest = nullptr;
    const unsigned long row = std::strtoul(line.c_str() + batch.nonce.size() + 1, &rest, 10);
    if (row >= batch.places.size() || *rest != ' ' || answered[row]) continue;
    answered[row] = 1;
    LoadedTests& one = loaded[batch.places[row]];
    try {
      take_found(one.tests, rest + 1);
    } catch (const Error& error) {
      one.error = error.what();
    }
  }
  for (size_t row = 0; row < answered.size(); ++row) {
    if (answered[row]) continue;
    loaded[batch.places[row]].error =
        "cannot read the tests: " +
        (result.error.empty()
             ? result.err.substr(result.err.size() > 300 ? result.err.size() - 300 : 0)
             : result.error);
  }
}

}  // namespace

std::vector<LoadedTests> load_code_tests(const std::vector<std::string>& rows, SandboxPool& pool) {
  std::vector<LoadedTests> loaded(rows.size());
  std::vector<TestSources> python(rows.size());
  std::vector<Batch> batches;
  std::vector<SandboxJob> jobs;
  for (size_t i = 0; i < rows.size(); ++i) {
    try {
      RowTests row = read_row_tests(rows[i]);
      loaded[i].tests = std::move(row.tests);
      python[i] = std::move(row.python);
    } catch (const Error& error) {
      loaded[i].error = error.what();
    }
    if (python[i].sources.empty()) continue;
    if (batches.empty() || batches.back().places.size() == kRowsOfJob)
      batches.push_back({{}, make_nonce()});
    batches.back().places.push_back(i);
  }
  for (const Batch& batch : batches) {
    std::vector<const TestSources*> sources;
    for (const size_t place : batch.places) sources.push_back(&python[place]);
    jobs.push_back(make_rewrite_job(sources, batch.nonce, probe_sandbox().python));
  }
  const std::vector<SandboxResult> results = pool.run(jobs);
  for (size_t k = 0; k < jobs.size(); ++k) take_report(loaded, batches[k], results[k]);
  return loaded;
}

}  // namespace zeroth
