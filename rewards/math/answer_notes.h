// What an answer says about its value beside stating it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace zeroth::math {

enum class HalfDay : uint8_t { kUnsaid, kMorning, kAfternoon };
enum class AngleUnit : uint8_t { kUnsaid, kDegrees, kRadians };

struct AnswerNotes {
  HalfDay half_day = HalfDay::kUnsaid;  // of a time of day
  AngleUnit angle = AngleUnit::kUnsaid;
  std::string unit;                 // behind the value, when it is one letter
  std::vector<int32_t> parameters;  // names said to run through a set of numbers: k in Z
};

}  // namespace zeroth::math
