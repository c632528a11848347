// zeroth traces: what is in a run's traces, in the terminal.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>

#include "cli/commands.h"
#include "cli/judge_samples.h"
#include "cli/output.h"
#include "cli/usage.h"
#include "core/config.h"
#include "core/error.h"
#include "core/terminal.h"
#include "inspect/run_view.h"
#include "inspect/text_tools.h"
#include "inspect/trace_index.h"

namespace zeroth {
namespace {

struct TracesOptions {
  bool json = false;
  bool jsonl = false;
  bool aha = false;
  bool fixed = false;
  bool ignore_case = false;
  bool tokens = false;
  bool verify = false;
  int64_t limit = 0;
  int context = 60;
  std::string query;
  std::string by;
  std::string color = "auto";
  std::vector<std::string> words;
  std::string url, model, key_env;
  double timeout = 60;
  template <class V>
  void fields(V& v) {
    v("json", json, "one JSON object a line");
    v("jsonl", jsonl, "export: one JSON object a line (the only format)");
    v("query", query, "only samples that match, in the search language");
    v("limit", limit, "at most this many samples; 0 = all", Range{0, 1e12});
    v("aha", aha,
      "top: samples that turned from wrong to right, those with a reflection marker first");
    v("by", by, "top: order by this field, with - in front descending");
    v("fixed", fixed, "grep: the pattern is plain text");
    v("ignore_case", ignore_case, "grep: upper and lower case are the same");
    v("context", context, "grep: characters shown around a match", Range{0, 10000});
    v("tokens", tokens,
      "show: one line per token with log-probability and entropy; export: with arrays per token");
    v("verify", verify, "ls: check every byte of the stream first");
    v("words", words, "word list files (JSON) to scan with besides the built-in ones");
    v("url", url,
      "judge: server of OpenAI's chat completions, for example http://127.0.0.1:8000/v1");
    v("model", model, "judge: name of the model on that server");
    v("key_env", key_env, "judge: environment variable with the key that the server wants");
    v("timeout", timeout, "judge: seconds to wait for an answer", Range{0.1, 3600});
    v("color", color, "auto, always or never", Choice{{"auto", "always", "never"}});
  }
};

constexpr char kUsage[] =
    "usage: zeroth traces COMMAND [options] RUN [..]\n\n"
    "  ls RUN                     steps with their samples, rewards, flips\n"
    "  show RUN STEP.GROUP.SAMPLE one trace, candidate answers marked right or wrong\n"
    "  grep RUN PATTERN           search the texts with a regular expression\n"
    "  diff RUN A B               two samples word by word\n"
    "  top RUN --aha | --by FIELD samples in order, by default most flips first\n"
    "  stats RUN                  scanners by step, with step 0 as the baseline\n"
    "  export --jsonl RUN         samples as JSON lines\n"
    "  judge RUN --url U --model M  ask a language model whether traces reflect, 0 to 3\n"
    "  reindex RUN                rebuild the search index from the stream\n\n";

// Colours, or nothing.
class Palette {
 public:
  explicit Palette(const std::string& mode)
      : on_(mode == "always" || (mode == "auto" && wants_color(STDOUT_FILENO))) {}
  std::string paint(const char* code, const std::string& text) const {
    return on_ ? "\x1b[" + std::string(code) + "m" + text + "\x1b[0m" : text;
  }
  bool on() const { return on_; }

 private:
  bool on_;
};

// A share that nothing was graded for is none.
double number_of(const Json& json) { return json.is_number() ? json.get<double>() : NAN; }

struct Call {
  Call(TracesOptions with, std::vector<std::string> arguments)
      : options(std::move(with)), rest(std::move(arguments)), palette(options.color) {}

  TracesOptions options;
  std::vector<std::string> rest;  // RUN and what follows
  Palette palette;

  RunView& view() {
    if (!view_) {
      std::vector<std::filesystem::path> lists(options.words.begin(), options.words.end());
      view_ = std::make_unique<RunView>(rest[0], lists);
      const bool terminal = ::isatty(STDERR_FILENO) != 0;
      view_->update([&](int64_t done, int64_t total) {
        if (terminal)
          std::fprintf(stderr, "\rindexing %lld of %lld groups\x1b[K", static_cast<long long>(done),
                       static_cast<long long>(total));
        if (terminal && done == total) std::fprintf(stderr, "\r\x1b[K");
        return true;
      });
    }
    return *view_;
  }

 private:
  std::unique_ptr<RunView> view_;
};

int run_ls(Call& call) {
  if (call.options.verify) {
    const Json report = call.view().verify();
    for (const Json& part : report["damage"]) {
      std::fprintf(stderr, "damage: %llu bytes at offset %llu: %s\n",
                   static_cast<unsigned long long>(part["bytes"].get<uint64_t>()),
                   static_cast<unsigned long long>(part["offset"].get<uint64_t>()),
                   part["what"].get<std::string>().c_str());
    }
    if (!report["damage"].empty()) std::fprintf(stderr, "all other records are intact\n");
  }
  const Json steps = call.view().steps();
  if (!call.options.json) {
    std::printf("%s\n", call.palette
                            .paint("1",
                                   "  step source      groups samples  reward solved length  W->R  "
                                   "R->W   aha trunc zero-var")
                            .c_str());
  }
  for (const Json& row : steps) {
    if (call.options.json) {
      print_json(row);
      continue;
    }
    std::printf("%6lld %-10s %7lld %7lld %7.3f  %4.0f%% %6.1f %5lld %5lld %5lld %5lld %8lld\n",
                static_cast<long long>(row["step"].get<int64_t>()),
                row["source"].get<std::string>().c_str(),
                static_cast<long long>(row["groups"].get<int64_t>()),
                static_cast<long long>(row["samples"].get<int64_t>()), row["reward"].get<double>(),
                100 * number_of(row["solved"]), row["length"].get<double>(),
                static_cast<long long>(row["flips"][0].get<int64_t>()),
                static_cast<long long>(row["flips"][1].get<int64_t>()),
                static_cast<long long>(row["aha"].get<int64_t>()),
                static_cast<long long>(row["truncated"].get<int64_t>()),
                static_cast<long long>(row["zero"].get<int64_t>()));
  }
  return 0;
}

// The text with candidates in green or red and a mark behind each, reflection markers in yellow, what
// an environment has put in in cyan.
std::string marked_text(const Json& trace, const Palette& palette) {
  const Json& pieces = trace["pieces"];
  std::vector<const char*> style(pieces.size(), nullptr);
  std::map<size_t, std::string> behind;
  const auto cover = [&](const Json& span, const char* code) {
    for (size_t t = span[0].get<size_t>(); t < span[1].get<size_t>() && t < style.size(); ++t)
      style[t] = code;
  };
  for (const Json& candidate : trace["candidates"]) {
    const bool right = candidate["correct"].get<bool>();
    cover(candidate["span"], right ? "32" : "31");
    std::string mark = right ? "✓" : "✗";
    if (candidate["flip"] == "W->R" || candidate["flip"] == "R->W")
      mark += candidate["flip"].get<std::string>();
    behind[candidate["span"][1].get<size_t>() - 1] += " [" + mark + "]";
  }
  for (const Json& span : trace["markers"]) cover(span, "1;33");
  for (const Json& turn : trace.value("turns", Json::array()))  // the environment's words
    cover({turn["end"], turn["next"]}, "36");
  std::string out;
  for (size_t t = 0; t < pieces.size(); ++t) {
    const std::string text = printable(pieces[t].get<std::string>());
    out += style[t] != nullptr ? palette.paint(style[t], text) : text;
    if (const auto mark = behind.find(t); mark != behind.end())
      out += palette.paint("2", mark->second);
  }
  return out;
}

int run_show(Call& call) {
  if (call.rest.size() != 2)
    fail_usage("show needs a sample", "write: zeroth traces show RUN STEP.GROUP.SAMPLE");
  const SampleAddress address = SampleAddress::parse(call.rest[1]);
  const Json trace = call.view().trace(address);
  if (call.options.json) {
    print_json(trace);
    return 0;
  }
  const Palette& palette = call.palette;
  std::printf("%s  %s %s  reward %.3f  advantage %+.3f  %lld tokens, %s\n",
              palette.paint("1", "sample " + address.text()).c_str(),
              printable_line(trace["task"].get<std::string>(), 40).c_str(),
              printable_line(trace["problem"].get<std::string>(), 60).c_str(),
              trace["reward"].get<double>(), trace["adv"].get<double>(),
              static_cast<long long>(trace["len"].get<int64_t>()),
              trace["finish"].get<std::string>().c_str());
  for (const Json& verdict : trace["verdicts"]) {
    std::printf("  %-10s %.3f x %.3g  %s  %s\n",
                printable_line(verdict["name"].get<std::string>(), 40).c_str(),
                verdict["score"].get<double>(), verdict["weight"].get<double>(),
                verdict["reason"].get<std::string>().c_str(),
                printable_line(verdict["extracted"].get<std::string>(), 60).c_str());
    for (const char* fact : {"said", "detail"}) {  // of a plug-in: its reason, its fault
      const Json& info = verdict["info"];
      if (info.is_object() && info.contains(fact) && info[fact].is_string())
        std::printf("             %s\n",
                    printable_line(info[fact].get<std::string>(), 200).c_str());
    }
  }
  if (trace["failed"].is_string()) {
    std::printf("  not graded: %s\n",
                printable_line(trace["failed"].get<std::string>(), 0).c_str());
  }
  if (const auto answer = trace["answer"].get<std::string>(); !answer.empty())
    std::printf("  reference  %s\n", printable_line(answer, 100).c_str());
  std::printf("\n%s\n%s\n\n%s\n", palette.paint("2", "prompt").c_str(),
              printable(trace["prompt"].get<std::string>()).c_str(),
              palette.paint("2", "completion").c_str());
  if (!call.options.tokens) {
    std::printf("%s\n", marked_text(trace, palette).c_str());
    return 0;
  }
  for (size_t t = 0; t < trace["ids"].size(); ++t) {
    const auto number = [&](const char* key) {
      return t < trace[key].size() && trace[key][t].is_number() ? trace[key][t].get<double>() : NAN;
    };
    std::string more;
    for (const auto& [name, values] : trace["annotations"].items()) {
      if (values.size() != trace["ids"].size() || !values[t].is_number()) continue;
      char shown[64];
      std::snprintf(shown, sizeof shown, "%s %+.4f  ", name.c_str(), values[t].get<double>());
      more += shown;
    }
    std::printf("%5zu %7lld  logp %8.4f  entropy %7.4f  %s%s\n", t,
                static_cast<long long>(trace["ids"][t].get<int64_t>()), number("logprobs"),
                number("entropies"), more.c_str(),
                printable_line(trace["pieces"][t].get<std::string>(), 60).c_str());
  }
  return 0;
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view("\\^$.|?*+()[]{}").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

int run_grep(Call& call) {
  if (call.rest.size() != 2)
    fail_usage("grep needs a pattern", "write: zeroth traces grep RUN PATTERN");
  const SearchPattern regex(call.options.fixed ? escaped(call.rest[1]) : call.rest[1],
                            call.options.ignore_case);
  int64_t found = 0;
  SearchRequest request;
  request.query = call.options.query;
  call.view().for_each_match(request, [&](const SampleAddress& address, const Group& group,
                                          const SampleScan&) {
    const Sample& sample = group.samples[static_cast<size_t>(address.sample)];
    const std::string text = searchable_text(sample);
    const auto hits = regex.find_all(text, 100);
    if (hits.empty()) return true;
    ++found;
    if (call.options.json) {
      Json spans = Json::array();
      for (const auto& [begin, end] : hits) spans.push_back({begin, end});
      print_json({{"at", address.text()},
                  {"problem", group.problem.id},
                  {"reward", sample.reward},
                  {"matches", spans},
                  {"text", text}});
    } else {
      const auto [begin, end] = hits.front();
      const auto context = static_cast<size_t>(call.options.context);
      const size_t from = begin > context ? begin - context : 0;
      std::printf(
          "%s %s%s%s\n", call.palette.paint("36", address.text()).c_str(),
          printable_line(std::string_view(text).substr(from, begin - from), 0).c_str(),
          call.palette
              .paint("1;31", printable_line(std::string_view(text).substr(begin, end - begin), 0))
              .c_str(),
          printable_line(std::string_view(text).substr(end, context), 0).c_str());
    }
    return call.options.limit == 0 || found < call.options.limit;
  });
  return found > 0 ? 0 : 1;
}

int run_diff(Call& call) {
  if (call.rest.size() != 3)
    fail_usage("diff needs two samples", "write: zeroth traces diff RUN 1.0.0 80.0.0");
  std::string texts[2];
  for (int i = 0; i < 2; ++i) {
    const Json trace =
        call.view().trace(SampleAddress::parse(call.rest[static_cast<size_t>(i) + 1]));
    texts[i] = trace["text"].get<std::string>();
    if (!call.options.json) {
      std::printf("%s %s  reward %.3f, %lld tokens\n", i == 0 ? "-" : "+",
                  trace["at"].get<std::string>().c_str(), trace["reward"].get<double>(),
                  static_cast<long long>(trace["len"].get<int64_t>()));
    }
  }
  for (const DiffPart& part : diff_words(texts[0], texts[1])) {
    const bool first = part.side == DiffPart::Side::kFirst;
    if (call.options.json) {
      print_json({{"side", part.side == DiffPart::Side::kBoth ? "both"
                           : first                            ? "first"
                                                              : "second"},
                  {"text", part.text}});
    } else if (part.side == DiffPart::Side::kBoth) {
      std::printf("%s", printable(part.text).c_str());
    } else {
      const std::string text = printable(part.text);
      const std::string plain = first ? "[-" + text + "-]" : "{+" + text + "+}";
      std::printf("%s", call.palette.on() ? call.palette.paint(first ? "31" : "32", text).c_str()
                                          : plain.c_str());
    }
  }
  if (!call.options.json) std::printf("\n");
  return 0;
}

int run_top(Call& call) {
  if (call.options.aha && !call.options.by.empty())
    fail_usage("--aha and --by contradict each other", "give one of them");
  SearchRequest request;
  const bool aha = call.options.aha || call.options.by.empty();
  // Flips with a reflection marker are worth more than plain ones, so they lead; and a trace that
  // ends right is worth more than one that lost what it had found.
  request.order = aha ? "-aha" : call.options.by;
  int64_t found = 0;
  const std::string asked = call.options.query.empty() ? "" : "(" + call.options.query + ") ";
  const std::vector<std::string> ahas = {asked + "flips>0 correct=1", asked + "flips>0 correct=0"};
  for (const std::string& query : aha ? ahas : std::vector<std::string>{call.options.query}) {
    if (call.options.limit > 0 && found >= call.options.limit) break;
    request.query = query;
    call.view().for_each_match(
        request, [&](const SampleAddress& address, const Group& group, const SampleScan& scan) {
          const Sample& sample = group.samples[static_cast<size_t>(address.sample)];
          if (call.options.json) {
            print_json({{"step", address.step},
                        {"problem", group.problem.id},
                        {"sample", address.sample},
                        {"reward", sample.reward},
                        {"flips", scan.flips[0]},
                        {"text", sample.text},
                        {"at", address.text()},
                        {"aha", scan.ahas.size()}});
          } else {
            std::printf("%s  reward %.3f  flips %d  aha %zu  %s\n",
                        call.palette.paint("36", address.text()).c_str(), sample.reward,
                        scan.flips[0], scan.ahas.size(), printable_line(sample.text, 160).c_str());
          }
          ++found;
          return call.options.limit == 0 || found < call.options.limit;
        });
  }
  return 0;
}

int run_stats(Call& call) {
  const Json timeline = call.view().timeline();
  const Json info = call.view().info();
  if (!call.options.json) {
    std::printf("%s\n", call.palette
                            .paint("1",
                                   "  step  solved  reflect     aha   W->R   R->W  loops  trunc   "
                                   "reflection pays [95%]       r1/1k  oat/1k  drg/1k")
                            .c_str());
  }
  for (const Json& row : timeline["scan"]) {
    if (call.options.json) {
      print_json(row);
      continue;
    }
    const Json& gap = row["reflection_gap"];
    char shown[64] = "-";
    if (gap.is_object()) {
      std::snprintf(shown, sizeof shown, "%+.3f [%+.3f, %+.3f]", gap["value"].get<double>(),
                    gap["low"].get<double>(), gap["high"].get<double>());
    }
    std::printf(
        "%6lld %6.1f%%  %6.1f%% %6.1f%%  %5.3f  %5.3f %5.1f%% %5.1f%%   %-24s %7.2f %7.2f %7.2f\n",
        static_cast<long long>(row["step"].get<int64_t>()), 100 * number_of(row["solve"]),
        100 * number_of(row["reflection"]), 100 * row["aha"].get<double>(),
        row["flips"][0].get<double>(), row["flips"][1].get<double>(),
        100 * row["loops"].get<double>(), 100 * row["truncated"].get<double>(), shown,
        row["per_1k"][0].get<double>(), row["per_1k"][1].get<double>(),
        row["per_1k"][2].get<double>());
  }
  if (!info["no_task"].get<std::string>().empty()) {
    std::fprintf(stderr, "flips are unknown: %s\n",
                 printable(info["no_task"].get<std::string>()).c_str());
  }
  return 0;
}

Json export_row(const SampleAddress& address, const Group& group, const SampleScan& scan,
                const std::vector<WordList>& lists, bool tokens) {
  const Sample& sample = group.samples[static_cast<size_t>(address.sample)];
  Json parts = Json::array();
  for (const Verdict& verdict : sample.verdicts) {
    parts.push_back({{"name", verdict.name},
                     {"score", verdict.score},
                     {"weight", verdict.weight},
                     {"reason", to_string(verdict.reason)},
                     {"extracted", verdict.extracted},
                     {"info", verdict.info}});
  }
  Json words = Json::object();
  for (size_t list = 0; list < scan.words.size(); ++list) {
    words[lists[list].name] = {scan.words[list], scan.substrings[list]};
  }
  Json row = {{"at", address.text()},
              {"step", address.step},
              {"group", address.group},
              {"sample", address.sample},
              {"source", to_string(address.source)},
              {"task", group.problem.task},
              {"problem", group.problem.id},
              {"prompt", group.problem.prompt},
              {"answer", group.problem.answer},
              {"text", sample.text},
              {"reward", sample.reward},
              {"advantage", sample.advantage},
              {"finish", to_string(sample.finish)},
              {"tokens", drawn_tokens(sample)},
              {"version", first_version(sample)},
              {"verdicts", parts},
              {"correct", scan.correct},
              {"flips", scan.flips},
              {"aha", scan.ahas.size()},
              {"reflection", scan.markers.size()},
              {"words", words},
              {"loop", scan.loop},
              {"language_switches", scan.language_switches}};
  if (sample.versions.size() > 1) {  // weights were switched while it was sampled
    for (const VersionSegment& segment : sample.versions)
      row["versions"].push_back({{"first", segment.first}, {"version", segment.version}});
  }
  for (const Turn& turn : sample.turns) {
    row["turns"].push_back({{"end", turn.end},
                            {"next", turn.next},
                            {"text_end", turn.text_end},
                            {"reward", turn.reward},
                            {"observation", turn.observation}});
  }
  if (tokens) {
    row["ids"] = sample.tokens;
    row["logprobs"] = sample.logprobs;
    row["entropies"] = sample.entropies;
    if (!sample.experts.empty()) row["experts"] = sample.experts;
    if (!sample.router_confidence.empty()) row["router_confidence"] = sample.router_confidence;
  }
  return row;
}

int run_export(Call& call) {
  SearchRequest request;
  request.query = call.options.query;
  int64_t written = 0;
  RunView& view = call.view();
  view.for_each_match(
      request, [&](const SampleAddress& address, const Group& group, const SampleScan& scan) {
        print_json(export_row(address, group, scan, view.word_lists(), call.options.tokens));
        return call.options.limit == 0 || ++written < call.options.limit;
      });
  return 0;
}

int run_judge(Call& call) {
  if (call.options.url.empty())
    fail_usage("judge needs --url",
               "write: zeroth traces judge RUN --url http://127.0.0.1:8000/v1 --model NAME");
  JudgeConfig config{call.options.url, call.options.model, "", call.options.timeout};
  if (!call.options.key_env.empty()) {
    const char* key = std::getenv(call.options.key_env.c_str());
    if (key == nullptr) fail_usage("there is no environment variable " + call.options.key_env);
    config.key = key;
  }
  return judge_samples(call.view(), config, call.options.query, call.options.limit,
                       call.options.json);
}

int run_reindex(Call& call) {
  call.view().reindex();
  const Json info = call.view().info();
  std::printf("indexed %lld samples\n", static_cast<long long>(info["samples"].get<int64_t>()));
  return 0;
}

}  // namespace

int run_traces(const Args& args) {
  TracesOptions options;
  const std::map<std::string, int (*)(Call&)> commands = {
      {"ls", run_ls},         {"show", run_show},   {"grep", run_grep},
      {"diff", run_diff},     {"top", run_top},     {"stats", run_stats},
      {"export", run_export}, {"judge", run_judge}, {"reindex", run_reindex}};
  if (args.empty() || asks_for_help(args)) {
    std::printf("%s%s", kUsage, config_help(options).c_str());
    std::printf("\nFields of the search language (%s):\n",
                "step>80 reward=1 flips>0 text~\"wait\" len>2k");
    for (const QueryField& field : query_fields())
      std::printf("  %-18s %s\n", field.name.c_str(), field.help.c_str());
    return args.empty() ? static_cast<int>(ExitCode::kUsage) : 0;
  }
  const auto command = commands.find(args[0]);
  if (command == commands.end()) {
    std::vector<std::string> names;
    for (const auto& [name, run] : commands) names.push_back(name);
    const std::string near = nearest(args[0], names);
    fail_usage("unknown command \"traces " + args[0] + "\"",
               (near.empty() ? "" : "did you mean \"" + near + "\"? ") +
                   std::string("see zeroth traces --help"));
  }
  const auto rest = parse_flags(options, Args(args.begin() + 1, args.end()), "traces " + args[0]);
  if (rest.empty())
    fail_usage("traces " + args[0] + " needs the folder of a run",
               "write: zeroth traces " + args[0] + " RUN");
  Call call(options, rest);
  return command->second(call);
}

}  // namespace zeroth
