// Threads of its own for work that goes on beside a thread's main work.
#pragma once

namespace zeroth {

// While it lives, every parallel_for of this thread runs on a second pool of num_threads() threads,
// which all such threads share and which is made when it is first needed. Without it such work would
// hold the one pool for as long as it takes, and whoever computes beside it would go on alone; with
// it the system deals the cores evenly. No result depends on it. At most one a thread.
class BackgroundThreads {
 public:
  BackgroundThreads();
  ~BackgroundThreads();
  BackgroundThreads(const BackgroundThreads&) = delete;
  BackgroundThreads& operator=(const BackgroundThreads&) = delete;
};

}  // namespace zeroth
