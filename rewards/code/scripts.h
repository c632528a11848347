// The Python files of this folder as strings; rewards/library.cmake turns them into scripts.cc at
// build time.
#pragma once

namespace zeroth {

extern const char kWireScript[];
extern const char kPeerScript[];
extern const char kPytestLiteScript[];
extern const char kHarnessScript[];
extern const char kRunnerScript[];
extern const char kRewriterScript[];
extern const char kCppDriverScript[];

}  // namespace zeroth
