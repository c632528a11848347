// The candidate answers of a trace: every place where the text commits itself to an answer, each
// graded by the task. Reading the trace as a sequence of right and wrong candidates shows where the
// model turned wrong into right, without a judge model (after "First Try Matters", arXiv
// 2510.08308, which finds candidates with a model).
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tasks/task.h"

namespace zeroth {

enum class CandidateKind : uint8_t {
  kTry,        // a complete Countdown try
  kAnswerTag,  // <answer>..</answer>
  kBoxed,      // \boxed{..}
  kMarker,     // #### ..
  kStated,     // "the answer is ..", "so the result is ..": to the end of the sentence
  kFinal,      // the answer that the task extracted, when no other candidate covers it
};
const char* to_string(CandidateKind kind);

struct Candidate {
  uint32_t begin = 0, end = 0;  // bytes of the completion
  CandidateKind kind = CandidateKind::kTry;
  bool correct = false;
  std::string answer;  // what was graded; empty for an illegal try, which is wrong
  // The same answer as the candidate before (an answer block that repeats the last try): shown, but
  // no flip.
  bool restated = false;
};

// From candidate to candidate, restated ones left out.
enum class Flip : uint8_t { kWrongToRight, kRightToWrong, kRightToRight, kWrongToWrong };
inline constexpr int kFlips = 4;
const char* to_string(Flip flip);  // "W->R", ...

// Finds and grades the candidates of completions of one problem. Remembers grades, since siblings
// repeat each other, and asks the task only about answers that the sample's own verdict did not
// already decide. Not thread safe; the task may be null, then only Countdown tries and the final
// answer are graded.
class CandidateGrader {
 public:
  CandidateGrader(const Task* task, const Problem& problem) : task_(task), problem_(problem) {}
  std::vector<Candidate> find(const Sample& sample);

 private:
  // Text around an answer that makes the task read it as one.
  struct Wrapper {
    std::string before, after;
  };
  const Wrapper* wrapper();
  bool grade(const std::string& answer);

  const Task* task_;
  const Problem& problem_;
  bool looked_for_wrapper_ = false;
  std::optional<Wrapper> wrapper_;
  std::map<std::string, bool> grades_;
};

// The flips between neighbours, with the index of the later candidate.
struct FlipAt {
  Flip flip;
  size_t candidate;
};
std::vector<FlipAt> flips_of(const std::vector<Candidate>& candidates);

}  // namespace zeroth
