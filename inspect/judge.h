// A language model that says whether a trace reflects, for whoever runs one: any server that speaks
// OpenAI's chat completions over plain HTTP (vLLM, llama.cpp, ..). Only `zeroth traces judge` asks
// it. Rules stay the measure: flips need no judge.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/trajectory.h"

namespace zeroth {

struct JudgeConfig {
  std::string url;    // http://HOST[:PORT]/PATH, to which /chat/completions is added
  std::string model;  // as the server names it
  std::string key;    // sent as a bearer token when not empty
  double timeout_s = 60;
  int attempts =
      4;  // when the server is busy, fails or cannot be reached; pauses double from 0.5 s
};

// After the rubric of Dr. GRPO's analysis (arXiv 2503.20783): 0 off topic or incoherent, 1 an
// answer without reflection, 2 reflection, explicit or implicit, 3 nothing but program code.
struct Judgement {
  int score = 0;  // 0..3
  std::string reason;
  std::string model;
  std::string digest;  // of the text that was judged, see judged_digest
};
inline constexpr int kRubricVersion = 1;

// One connection, kept alive. Not thread safe; calls block.
class Judge {
 public:
  explicit Judge(JudgeConfig config);  // throws a usage Error when the URL or model is none
  ~Judge();
  // Throws Error(kFailed) when the server cannot be reached or answers with no score.
  Judgement judge(const Problem& problem, const std::string& text);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The score in a model's reply: the "score" of a JSON object, else a lone digit. Throws
// Error(kFailed) that quotes the reply when there is none from 0 to 3.
Judgement parse_judgement(const std::string& reply);

std::string judged_digest(const std::string& text);

// RUN/traces/judge.jsonl: one judgement a line, appended; later ones replace earlier ones.
std::filesystem::path judge_path(const std::filesystem::path& run_dir);
Json judge_row(const std::string& at, const Judgement& judgement);
// By the address of the sample. Lines that are none, or of another rubric, are skipped; a missing
// file is empty.
std::map<std::string, Judgement> read_judgements(const std::filesystem::path& run_dir);

}  // namespace zeroth
