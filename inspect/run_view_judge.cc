// Judgements, which stand beside the stream, in the index and in the view of a trace.
#include "core/error.h"
#include "inspect/judge.h"
#include "inspect/run_view_impl.h"

namespace zeroth {

void RunView::Impl::index_judgements() {
  std::error_code error;
  const auto size = std::filesystem::file_size(judge_path(run_dir), error);
  if (error) return;
  Database& own = index->db();
  {
    Statement seen(own, "SELECT value FROM meta WHERE key = 'judged'");
    if (seen.step() && seen.text(0) == std::to_string(size)) return;
  }
  own.exec("BEGIN IMMEDIATE");
  own.exec("DELETE FROM extra WHERE field = 'judge'");
  Statement find(
      own, "SELECT offset, first_sample, n FROM groups WHERE step = ? AND idx = ? AND source = ?");
  Statement put(own, "INSERT OR REPLACE INTO extra VALUES(?, 'judge', ?)");
  const auto& groups = index_reader->groups();
  for (const auto& [at, judgement] : read_judgements(run_dir)) {
    try {
      const SampleAddress address = SampleAddress::parse(at);
      find.reset();
      find.bind(1, address.step)
          .bind(2, address.group)
          .bind(3, static_cast<int64_t>(address.source));
      if (!find.step() || address.sample >= find.integer(2)) continue;
      const auto offset = static_cast<uint64_t>(find.integer(0));
      const auto entry = std::lower_bound(
          groups.begin(), groups.end(), offset,
          [](const TraceEntry& one, uint64_t wanted) { return one.offset < wanted; });
      if (entry == groups.end() || entry->offset != offset) continue;
      // A resumed run may have put another sample under the same address.
      const Group group = index_reader->read(*entry);
      if (judged_digest(group.samples.at(static_cast<size_t>(address.sample)).text) !=
          judgement.digest) {
        continue;
      }
      put.bind(1, find.integer(1) + address.sample).bind(2, int64_t{judgement.score}).run();
    } catch (const std::exception&) {  // no address, or a damaged record: not judged
    }
  }
  find.reset();
  Statement(own, "INSERT OR REPLACE INTO meta VALUES('judged', ?)")
      .bind(1, std::to_string(size))
      .run();
  own.exec("COMMIT");
}

Json judgement_json(const std::filesystem::path& run_dir, const SampleAddress& address,
                    const std::string& text) {
  const auto all = read_judgements(run_dir);
  const auto found = all.find(address.text());
  if (found == all.end() || found->second.digest != judged_digest(text)) return nullptr;
  return {{"score", found->second.score},
          {"reason", found->second.reason},
          {"model", found->second.model}};
}

}  // namespace zeroth
