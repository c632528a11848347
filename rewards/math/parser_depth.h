// Counts the nesting of the parser's recursion.
#pragma once

namespace zeroth::math {

class ParserDepth {
 public:
  explicit ParserDepth(int* depth) : depth_(depth) { ++*depth_; }
  ~ParserDepth() { --*depth_; }
  ParserDepth(const ParserDepth&) = delete;
  ParserDepth& operator=(const ParserDepth&) = delete;

 private:
  int* depth_;
};

}  // namespace zeroth::math
