// The timeline and the step view.
#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "core/error.h"
#include "inspect/run_view_impl.h"

namespace zeroth {
namespace {

// More points than a screen has columns only make the page slow.
constexpr size_t kMaxTimelinePoints = 3000;
// Cards of a step view; the histogram and the table still count every sample.
constexpr size_t kMaxCards = 64;

// Rows for the timeline: every n-th, and those of what is measured now and then (evaluation,
// probes), which would fall between them.
std::vector<uint32_t> shown_rows(const MetricsFile& metrics) {
  constexpr size_t kRare = 500;
  const size_t rows = metrics.steps().size();
  const size_t stride = rows / kMaxTimelinePoints + 1;
  std::vector<uint32_t> chosen;
  for (size_t i = 0; i < rows; ++i) {
    if (i % stride == 0 || i + 1 == rows) chosen.push_back(static_cast<uint32_t>(i));
  }
  if (stride == 1) return chosen;
  size_t room = 2 * kMaxTimelinePoints;
  for (const auto& [name, series] : metrics.series()) {
    if (series.at.size() > std::min(kRare, room)) continue;
    chosen.insert(chosen.end(), series.at.begin(), series.at.end());
    room -= series.at.size();
  }
  std::sort(chosen.begin(), chosen.end());
  chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
  return chosen;
}

// The series over the chosen rows, null where a row has no number of that name.
Json thinned(const MetricsFile::Series& series, const std::vector<uint32_t>& chosen) {
  Json column = Json::array();
  size_t i = 0;
  for (const uint32_t row : chosen) {
    while (i < series.at.size() && series.at[i] < row) ++i;
    const bool there = i < series.at.size() && series.at[i] == row;
    column.push_back(there ? Json(series.values[i]) : Json(nullptr));
  }
  return column;
}

// What the histograms and filters of the step view work on, for every sample of the step: fields of
// the search language.
constexpr std::array kColumns = {"sample", "reward",  "adv",   "len",    "correct",
                                 "finish", "refl",    "flips", "lost",   "aha",
                                 "loop",   "entropy", "cands", "masked", "failed"};

std::string columns_sql() {
  std::string sql;
  for (const char* name : kColumns) {
    for (const QueryField& field : query_fields()) {
      if (field.name == name) sql += (sql.empty() ? "" : ", ") + field.sql;
    }
  }
  return sql;
}

Json column_names() {
  Json names = {"group"};
  for (const char* name : kColumns) names.push_back(name);
  return names;
}

// Null when there is nothing to take a share of.
Json share_of(int64_t part, int64_t whole) {
  return whole == 0 ? Json(nullptr) : Json(static_cast<double>(part) / static_cast<double>(whole));
}

Json interval(const ShareDifference& gap) {
  if (gap.n_with == 0 || gap.n_without == 0) return nullptr;
  return {{"value", gap.value},
          {"low", gap.low},
          {"high", gap.high},
          {"with", gap.n_with},
          {"without", gap.n_without}};
}

}  // namespace

std::string clipped(std::string_view text, size_t bytes) {
  if (text.size() <= bytes) return std::string(text);
  while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xc0) == 0x80) --bytes;
  return std::string(text.substr(0, bytes)) + "…";
}

// Why grading failed, in words; null when it did not.
Json failure_text(const Sample& sample) {
  const Verdict* failed = failed_grading(sample);
  if (failed == nullptr) return nullptr;
  std::string text = to_string(failed->reason);
  for (const char* key : {"fault", "detail", "error"}) {
    const auto found = failed->info.is_object() ? failed->info.find(key) : failed->info.end();
    if (found != failed->info.end() && found->is_string()) text += ": " + found->get<std::string>();
  }
  return clipped(text, 300);
}

Json sample_summary(const Sample& sample, const SampleScan& scan) {
  Json parts = Json::array();
  for (const Verdict& verdict : sample.verdicts) {
    parts.push_back({{"name", verdict.name},
                     {"score", verdict.score},
                     {"weight", verdict.weight},
                     {"reason", to_string(verdict.reason)}});
  }
  return {{"reward", sample.reward},
          {"adv", sample.advantage},
          {"len", drawn_tokens(sample)},
          {"finish", to_string(sample.finish)},
          {"correct", scan.correct},
          {"masked", sample.masked},
          {"failed", failure_text(sample)},
          {"refl", scan.markers.size()},
          {"cands", scan.candidates.size()},
          {"flips", scan.flips},
          {"aha", scan.ahas.size()},
          {"loop", scan.loop},
          {"parts", parts}};
}

Json RunView::timeline() {
  std::lock_guard lock(impl_->mutex);
  const auto& row_steps = impl_->metrics.steps();
  std::vector<uint32_t> chosen = shown_rows(impl_->metrics);
  Json steps = Json::array();
  for (const uint32_t row : chosen) steps.push_back(row_steps[row]);
  Json series = Json::object();
  for (const auto& [name, values] : impl_->metrics.series()) series[name] = thinned(values, chosen);
  Json out = {{"steps", steps}, {"series", series}, {"scan", Json::array()}};
  if (!impl_->db) return out;
  const auto stats = impl_->step_stats(GroupSource::kTrain);
  const size_t scan_stride = stats.size() / kMaxTimelinePoints + 1;
  for (size_t i = 0; i < stats.size(); ++i) {
    if (i % scan_stride != 0 && i + 1 != stats.size()) continue;
    const auto& [step, sums] = stats[i];
    const auto n = static_cast<double>(std::max<int64_t>(sums.samples, 1));
    const auto tokens = static_cast<double>(std::max<int64_t>(sums.tokens, 1));
    Json row = {
        {"step", step},
        {"samples", sums.samples},
        {"reward", sums.reward / n},
        {"solve", share_of(sums.correct, sums.graded())},
        {"failed", static_cast<double>(sums.failed) / n},
        {"length", static_cast<double>(sums.tokens) / n},
        {"entropy", sums.entropy / tokens},
        {"truncated", static_cast<double>(sums.truncated) / n},
        {"loops", static_cast<double>(sums.loops) / n},
        {"zero", static_cast<double>(sums.zero_variance) /
                     static_cast<double>(std::max<int64_t>(sums.groups, 1))},
        {"reflection", share_of(sums.reflected[1][0] + sums.reflected[1][1], sums.graded())},
        {"flips", Json::array()},
        {"aha", static_cast<double>(sums.aha_samples) / n},
        {"reflection_gap", interval(sums.reflection_gap())},
        {"thinking_gap", interval(sums.thinking_gap())},
        {"per_1k", Json::array()},
        {"per_trace", Json::array()}};
    for (const int64_t flips : sums.flips) row["flips"].push_back(static_cast<double>(flips) / n);
    for (const int64_t words : sums.words) {
      row["per_1k"].push_back(1000.0 * static_cast<double>(words) / tokens);
      row["per_trace"].push_back(static_cast<double>(words) / n);
    }
    out["scan"].push_back(std::move(row));
  }
  return out;
}

Json RunView::steps() {
  std::lock_guard lock(impl_->mutex);
  impl_->need_traces();
  Json out = Json::array();
  Statement get(*impl_->db, "SELECT step, source, stats FROM steps ORDER BY step, source");
  while (get.step()) {
    const StepStats stats = stored_stats(get.text(2));
    const auto n = static_cast<double>(std::max<int64_t>(stats.samples, 1));
    out.push_back({{"step", get.integer(0)},
                   {"source", to_string(static_cast<GroupSource>(get.integer(1)))},
                   {"groups", stats.groups},
                   {"samples", stats.samples},
                   {"tokens", stats.tokens},
                   {"reward", stats.reward / n},
                   {"solved", share_of(stats.correct, stats.graded())},
                   {"failed", stats.failed},
                   {"length", static_cast<double>(stats.tokens) / n},
                   {"flips", stats.flips},
                   {"aha", stats.aha_samples},
                   {"reflected", stats.reflected[1][0] + stats.reflected[1][1]},
                   {"truncated", stats.truncated},
                   {"zero", stats.zero_variance}});
  }
  return out;
}

Json RunView::step(int64_t step, GroupSource source) {
  std::lock_guard lock(impl_->mutex);
  impl_->need_traces();
  const auto rows = impl_->group_rows("g.step = ? AND g.source = ? ORDER BY g.idx, g.id",
                                      {step, static_cast<int64_t>(source)});
  if (rows.empty()) {
    fail_usage(
        "step " + std::to_string(step) + " has no stored samples (" + to_string(source) + ")",
        "\"zeroth traces ls RUN\" lists the steps that have");
  }
  // Columns of all samples: what the histograms and filters of the page work on.
  Json samples = Json::array();
  Statement get(
      *impl_->db,
      "SELECT g.idx, " + columns_sql() +
          " FROM groups g JOIN samples s ON s.id >= g.first_sample AND s.id < g.first_sample + g.n "
          "WHERE g.step = ? AND g.source = ? ORDER BY g.idx, s.id");
  get.bind(1, step).bind(2, static_cast<int64_t>(source));
  while (get.step()) {
    Json row = {get.integer(0)};
    for (int c = 1; c <= static_cast<int>(kColumns.size()); ++c) {
      if (get.is_null(c)) {
        row.push_back(nullptr);
      } else if (get.is_real(c)) {
        row.push_back(get.real(c));
      } else {
        row.push_back(get.integer(c));
      }
    }
    samples.push_back(std::move(row));
  }
  Json groups = Json::array();
  for (const auto& row : rows) {
    if (groups.size() == kMaxCards) break;
    Json card = {{"group", row.index},     {"task", row.task},
                 {"problem", row.problem}, {"n", row.n},
                 {"zero", row.zero},       {"reward", row.reward},
                 {"correct", row.correct}, {"failed", row.failed}};
    try {
      const Group group = impl_->reader->read(impl_->entry_at(row.offset));
      card["prompt"] = clipped(group.problem.prompt, 1500);
      card["answer"] = clipped(group.problem.answer, 300);
      const auto scans = impl_->scanner->scan(group);
      Json list = Json::array();
      for (size_t i = 0; i < scans.size(); ++i) {
        Json summary = sample_summary(group.samples[i], scans[i]);
        summary["text"] = clipped(group.samples[i].text, 400);
        list.push_back(std::move(summary));
      }
      card["samples"] = std::move(list);
    } catch (const Error& error) {
      card["damaged"] = error.what();
    }
    groups.push_back(std::move(card));
  }
  return {{"step", step},
          {"source", to_string(source)},
          {"total_groups", rows.size()},
          {"columns", column_names()},
          {"samples", std::move(samples)},
          {"groups", std::move(groups)}};
}

Json RunView::experts() {
  std::lock_guard lock(impl_->mutex);
  impl_->need_traces();
  Json out = {{"steps", Json::array()}, {"load", Json::array()}};
  for (const auto& [step, stats] : impl_->step_stats(GroupSource::kTrain)) {
    if (stats.experts.empty()) continue;
    Json layers = Json::array();
    for (const auto& layer : stats.experts) {
      int64_t total = 0;
      for (const int64_t count : layer) total += count;
      Json shares = Json::array();
      // Load relative to an even spread: 1 is even.
      for (const int64_t count : layer) {
        shares.push_back(total == 0
                             ? 0.0
                             : static_cast<double>(count) * static_cast<double>(layer.size()) /
                                   static_cast<double>(total));
      }
      layers.push_back(std::move(shares));
    }
    out["steps"].push_back(step);
    out["load"].push_back(std::move(layers));
  }
  return out;
}

}  // namespace zeroth
