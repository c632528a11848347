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

void put_series(Json& series, const std::string& name, size_t at, const Json& value) {
  if (!value.is_number()) return;
  Json& column = series[name];
  while (column.size() < at) column.push_back(nullptr);
  column.push_back(value);
}

// What the histograms and filters of the step view work on, for every sample of the step: fields of
// the search language.
constexpr std::array kColumns = {"sample", "reward", "adv", "len",  "correct", "finish", "refl",
                                 "flips",  "lost",   "aha", "loop", "entropy", "cands",  "masked"};

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

Json sample_summary(const Sample& sample, const SampleScan& scan) {
  Json parts = Json::array();
  for (const Verdict& verdict : sample.verdicts) {
    parts.push_back({{"name", verdict.name},
                     {"score", verdict.score},
                     {"weight", verdict.weight},
                     {"reason", to_string(verdict.reason)}});
  }
  return {{"reward", sample.reward},     {"adv", sample.advantage},
          {"len", sample.tokens.size()}, {"finish", to_string(sample.finish)},
          {"correct", scan.correct},     {"masked", sample.masked},
          {"refl", scan.markers.size()}, {"cands", scan.candidates.size()},
          {"flips", scan.flips},         {"aha", scan.ahas.size()},
          {"loop", scan.loop},           {"parts", parts}};
}

Json RunView::timeline() {
  std::lock_guard lock(impl_->mutex);
  const auto& rows = impl_->metrics.rows();
  const size_t stride = rows.size() / kMaxTimelinePoints + 1;
  Json steps = Json::array();
  Json series = Json::object();
  size_t points = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (i % stride != 0 && i + 1 != rows.size()) continue;
    for (const auto& [name, value] : rows[i].items()) {
      if (name == "timing" && value.is_object()) {
        for (const auto& [inner, number] : value.items())
          put_series(series, "timing/" + inner, points, number);
      } else if (name != "step") {
        put_series(series, name, points, value);
      }
    }
    steps.push_back(rows[i]["step"]);
    ++points;
  }
  for (auto& [name, column] : series.items()) {
    while (column.size() < points) column.push_back(nullptr);
  }
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
        {"solve", static_cast<double>(sums.correct) / n},
        {"length", static_cast<double>(sums.tokens) / n},
        {"entropy", sums.entropy / tokens},
        {"truncated", static_cast<double>(sums.truncated) / n},
        {"loops", static_cast<double>(sums.loops) / n},
        {"zero", static_cast<double>(sums.zero_variance) /
                     static_cast<double>(std::max<int64_t>(sums.groups, 1))},
        {"reflection", static_cast<double>(sums.reflected[1][0] + sums.reflected[1][1]) / n},
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
    const StepStats stats = StepStats::from_json(parse_json(get.text(2), "the trace index"));
    const auto n = static_cast<double>(std::max<int64_t>(stats.samples, 1));
    out.push_back({{"step", get.integer(0)},
                   {"source", to_string(static_cast<GroupSource>(get.integer(1)))},
                   {"groups", stats.groups},
                   {"samples", stats.samples},
                   {"tokens", stats.tokens},
                   {"reward", stats.reward / n},
                   {"solved", static_cast<double>(stats.correct) / n},
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
    Json card = {
        {"group", row.index}, {"task", row.task},     {"problem", row.problem}, {"n", row.n},
        {"zero", row.zero},   {"reward", row.reward}, {"correct", row.correct}};
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
