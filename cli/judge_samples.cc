#include "cli/judge_samples.h"

#include <array>
#include <cstdio>

#include "cli/output.h"
#include "core/json_lines.h"
#include "core/terminal.h"

namespace zeroth {

int judge_samples(RunView& view, const JudgeConfig& config, const std::string& query, int64_t limit,
                  bool json) {
  Judge judge(config);
  const auto known = read_judgements(view.run_dir());
  JsonLinesWriter results(judge_path(view.run_dir()));
  std::array<int64_t, 4> counts{};
  int64_t judged = 0;
  SearchRequest request;
  request.query = query;
  view.for_each_match(
      request, [&](const SampleAddress& address, const Group& group, const SampleScan&) {
        const std::string& text = group.samples[static_cast<size_t>(address.sample)].text;
        const auto before = known.find(address.text());
        if (before != known.end() && before->second.model == config.model &&
            before->second.digest == judged_digest(text)) {
          return true;
        }
        const Judgement judgement = judge.judge(group.problem, text);
        const Json row = judge_row(address.text(), judgement);
        results.write(row);
        ++counts[static_cast<size_t>(judgement.score)];
        ++judged;
        if (json) {
          print_json(row);
        } else {
          std::printf("%s  %d  %s\n", address.text().c_str(), judgement.score,
                      printable_line(judgement.reason, 120).c_str());
        }
        std::fflush(stdout);
        return limit == 0 || judged < limit;
      });
  std::fprintf(stderr,
               "judged %lld: %lld incoherent, %lld without reflection, %lld with, %lld code\n",
               static_cast<long long>(judged), static_cast<long long>(counts[0]),
               static_cast<long long>(counts[1]), static_cast<long long>(counts[2]),
               static_cast<long long>(counts[3]));
  return 0;
}

}  // namespace zeroth
