#include "inspect/metrics_file.h"

#include <algorithm>

#include "core/json_text.h"
#include "record/trace_scan.h"

namespace zeroth {
namespace {

constexpr uint64_t kPiece = 1 << 20;
constexpr size_t kMaxLine = 4 << 20;
constexpr uint64_t kMaxFile = uint64_t{16} << 30;
constexpr size_t kMaxNames = 4096;
constexpr uint64_t kMaxValues = 32'000'000;
// moe/load holds a number for every expert of every layer.
constexpr JsonBounds kRow{8, 1 << 18};

}  // namespace

bool MetricsFile::starts_over() {
  steps_.clear();
  series_.clear();
  alarms_.clear();
  last_row_ = nullptr;
  values_ = read_ = 0;
  last_.clear();
  refresh();
  return true;
}

bool MetricsFile::refresh() {
  std::error_code error;
  const uint64_t size = std::filesystem::file_size(path_, error);
  if (error || size == read_ || !std::filesystem::is_regular_file(path_, error)) return false;
  // A resumed run cuts the file, and may have written past where we were by now: what was read last
  // must still be there.
  if (size < read_) return starts_over();
  const PositionalFile file(path_);
  if (read_ == 0 && tail_ > 0 && size > tail_) read_ = size - tail_;
  if (file.read(read_ - last_.size(), last_.size()) != last_) return starts_over();
  bool changed = false;
  std::string content;  // from read_ on
  for (uint64_t at = read_; at < std::min(size, kMaxFile) && values_ < kMaxValues;) {
    const std::string piece = file.read(at, std::min<uint64_t>(kPiece, size - at));
    if (piece.empty()) break;
    at += piece.size();
    content += piece;
    changed = take_lines(content) || changed;
    if (content.size() > kMaxLine) {  // no row of ours: what follows counts as a line of its own
      read_ += content.size();
      last_.clear();
      content.clear();
    }
  }
  return changed;
}

bool MetricsFile::take_lines(std::string& content) {
  bool changed = false;
  size_t at = 0;
  for (size_t end = content.find('\n'); end != std::string::npos; end = content.find('\n', at)) {
    const std::string_view line = std::string_view(content).substr(at, end + 1 - at);
    std::optional<Json> row = try_parse_json(line, kRow);
    last_ = line;
    at = end + 1;
    if (!row || !row->is_object() || !row->contains("step")) continue;
    if (!(*row)["step"].is_number_integer() || values_ >= kMaxValues) continue;
    add_row(*row);
    last_row_ = std::move(*row);
    changed = true;
  }
  read_ += at;
  content.erase(0, at);
  return changed;
}

void MetricsFile::add_row(const Json& row) {
  for (const auto& [name, value] : row.items()) {
    if (name == "timing" && value.is_object()) {
      for (const auto& [inner, number] : value.items()) add_number("timing/" + inner, number);
    } else if (name != "step") {
      add_number(name, value);
    }
  }
  const auto step = row["step"].get<int64_t>();
  if (const auto alarms = row.find("alarms"); alarms != row.end() && alarms->is_array()) {
    const Json messages = row.value("alarm_messages", Json());
    for (const Json& alarm : *alarms) add_alarm(step, alarm, messages);
  }
  steps_.push_back(step);
  ++values_;
}

void MetricsFile::add_alarm(int64_t step, const Json& name, const Json& messages) {
  constexpr size_t kMaxAlarms = 10000;
  constexpr size_t kMaxText = 2000;
  if (alarms_.size() >= kMaxAlarms || !name.is_string()) return;
  Alarm alarm{step, name.get<std::string>().substr(0, kMaxText), ""};
  if (const auto message = messages.find(alarm.name);
      messages.is_object() && message != messages.end() && message->is_string())
    alarm.message = message->get<std::string>().substr(0, kMaxText);
  if (!alarm.name.empty()) alarms_.push_back(std::move(alarm));
}

void MetricsFile::add_number(const std::string& name, const Json& value) {
  if (!value.is_number()) return;
  if (series_.size() >= kMaxNames && !series_.contains(name)) return;
  Series& series = series_[name];
  series.at.push_back(static_cast<uint32_t>(steps_.size()));
  series.values.push_back(value.get<double>());
  ++values_;
}

}  // namespace zeroth
