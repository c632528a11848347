#include "core/process_cost.h"

#include <sys/resource.h>

#include <algorithm>

#include "core/system.h"

namespace zeroth {
namespace {

double seconds_of(int who) {
  rusage usage = {};
  if (::getrusage(who, &usage) != 0) return 0;
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace

ProcessCost process_cost() {
  return {seconds_of(RUSAGE_SELF) + seconds_of(RUSAGE_CHILDREN),
          std::max(0.0, system::own_memory().peak_mb), system::joules()};
}

}  // namespace zeroth
