#include "inspect/page.h"

#include <algorithm>
#include <map>
#include <set>

#include "core/error.h"
#include "inspect/run_view.h"

namespace zeroth {
namespace {

// Leaves room for the page itself and the timeline below 5 MB.
constexpr size_t kTraceBytes = 4'000'000;

std::string replaced(std::string text, std::string_view what, std::string_view by) {
  const size_t at = text.find(what);
  if (at != std::string::npos) text.replace(at, what.size(), by);
  return text;
}

std::string_view file(std::string_view name) {
  for (const PageFile& candidate : page_files()) {
    if (candidate.name == name) return candidate.content;
  }
  return {};
}

// JSON inside <script>: no "<" may be left, so that no text of a trace can end the element.
std::string script_json(const Json& json) {
  const std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  std::string out;
  out.reserve(text.size() + text.size() / 50);
  for (const char c : text) {
    if (c == '<') {
      out += "\\u003c";
    } else {
      out += c;
    }
  }
  return out;
}

// Collects what goes into an exported file until the budget is used up.
class Collector {
 public:
  Collector(RunView& view, int traces) : view_(view), left_(traces) {}

  bool add(const SampleAddress& address) {
    const std::string at = address.text();
    if (traces_.contains(at)) return true;
    if (left_ <= 0 || bytes_ > kTraceBytes) return false;
    Json trace = view_.trace(address);
    bytes_ += trace.dump(-1, ' ', false, Json::error_handler_t::replace).size();
    traces_[at] = std::move(trace);
    --left_;
    return true;
  }

  // The first groups of a step with all their samples, and the step's view cut down to them.
  void add_step(int64_t step, GroupSource source, int most_samples) {
    Json data = view_.step(step, source);
    Json groups = Json::array();
    std::set<int64_t> kept;
    int used = 0;
    for (const Json& group : data["groups"]) {
      if (group.contains("damaged")) continue;
      const auto index = group["group"].get<int64_t>();
      const auto n = static_cast<int>(group["samples"].size());
      if (used > 0 && used + n > most_samples) break;
      bool whole = true;
      for (int i = 0; i < n && whole; ++i) whole = add({step, index, i, source});
      if (!whole) break;
      used += n;
      groups.push_back(group);
      kept.insert(index);
    }
    if (groups.empty()) return;
    Json samples = Json::array();
    for (const Json& row : data["samples"]) {
      if (kept.count(row[0].get<int64_t>()) > 0) samples.push_back(row);
    }
    data["groups"] = std::move(groups);
    data["samples"] = std::move(samples);
    steps_[std::to_string(step) + "." + to_string(source)] = std::move(data);
  }

  int left() const { return left_; }
  Json traces() { return std::move(traces_); }
  Json steps() { return std::move(steps_); }

 private:
  RunView& view_;
  int left_;
  size_t bytes_ = 0;
  Json traces_ = Json::object();
  Json steps_ = Json::object();
};

// About six steps from the first to the last.
std::vector<int64_t> spread_steps(const Json& steps) {
  std::vector<int64_t> train;
  for (const Json& row : steps) {
    if (row["source"] == "train") train.push_back(row["step"].get<int64_t>());
  }
  constexpr size_t kSteps = 6;
  if (train.size() <= kSteps) return train;
  std::vector<int64_t> out;
  for (size_t i = 0; i < kSteps; ++i) out.push_back(train[i * (train.size() - 1) / (kSteps - 1)]);
  return out;
}

}  // namespace

std::string page_style() { return std::string(file("style.css")); }

std::string page_script() {
  std::string script;
  for (const PageFile& part : page_files()) {
    if (std::string_view(part.name).ends_with(".js")) script += part.content;
  }
  return script;
}

std::string served_page() {
  std::string html(file("index.html"));
  html = replaced(std::move(html), "<!--STYLE-->", R"(<link rel="stylesheet" href="style.css">)");
  return replaced(std::move(html), "<!--SCRIPT-->", R"(<script src="app.js"></script>)");
}

std::string exported_page(RunView& view, int traces) {
  const Json info = view.info();
  Json data = {{"info", info}, {"timeline", view.timeline()}};
  if (info["traces"].get<bool>()) {
    const Json steps = view.steps();
    Collector collector(view, traces);
    const std::vector<int64_t> chosen = spread_steps(steps);
    const int share =
        chosen.empty() ? 0 : std::max(1, traces * 3 / 4 / static_cast<int>(chosen.size()));
    for (const int64_t step : chosen) collector.add_step(step, GroupSource::kTrain, share);
    for (const Json& row : steps) {
      if (row["source"] == "probe" && collector.left() > traces / 8) {
        collector.add_step(row["step"].get<int64_t>(), GroupSource::kProbe, traces / 16);
      }
    }
    const Json ahas = view.first_ahas(std::max(1, std::min(1000, traces)));
    for (const Json& hit : ahas["hits"]) {
      if (!collector.add(SampleAddress::parse(hit["at"].get<std::string>()))) break;
    }
    data["step"] = collector.steps();
    data["traces"] = collector.traces();
    data["experts"] = view.experts();
    Json kept_steps = Json::array();
    for (const Json& row : steps) {
      const std::string key =
          std::to_string(row["step"].get<int64_t>()) + "." + row["source"].get<std::string>();
      if (data["step"].contains(key)) kept_steps.push_back(row);
    }
    data["steps"] = std::move(kept_steps);
    // Problems of which the file holds samples of two steps or more.
    std::map<std::pair<std::string, std::string>, std::set<int64_t>> times;
    for (const Json& trace : data["traces"]) {
      times[{trace["task"], trace["problem"]}].insert(trace["step"].get<int64_t>());
    }
    Json probes = Json::array();
    for (const Json& row : view.probes()) {
      const auto found = times.find({row["task"], row["problem"]});
      if (found != times.end() && found->second.size() > 1) probes.push_back(row);
    }
    data["probes"] = std::move(probes);
  } else {
    data["step"] = data["traces"] = Json::object();
    data["steps"] = data["probes"] = Json::array();
    data["experts"] = {{"steps", Json::array()}, {"load", Json::array()}};
  }
  std::string html(file("index.html"));
  html = replaced(
      std::move(html), "<!--STYLE-->",
      R"(<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">)"
      "\n<style>\n" +
          page_style() + "</style>");
  return replaced(std::move(html), "<!--SCRIPT-->",
                  "<script>window.ZEROTH_EXPORT = " + script_json(data) + ";</script>\n<script>\n" +
                      page_script() + "</script>");
}

}  // namespace zeroth
