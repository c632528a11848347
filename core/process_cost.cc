#include "core/process_cost.h"

#include <sys/resource.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <string>

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

double peak_mb() {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);)
    if (line.rfind("VmHWM:", 0) == 0) return std::stod(line.substr(6)) / 1024;
  return 0;
}

std::optional<double> number_in(const std::filesystem::path& file) {
  std::ifstream in(file);
  double value = 0;
  if (in >> value) return value;
  return std::nullopt;
}

// Packages only (intel-rapl:0, ..): what is below one (intel-rapl:0:1) is a part of it.
std::optional<double> joules() {
  static std::mutex mutex;
  static std::map<std::string, std::pair<double, double>> last;  // microjoules: read, wrapped
  const std::lock_guard lock(mutex);
  double sum = 0;
  bool any = false;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/sys/class/powercap", error)) {
    const std::string name = entry.path().filename().string();
    if (name.find("rapl:") == std::string::npos || name.find(':') != name.rfind(':')) continue;
    const auto now = number_in(entry.path() / "energy_uj");
    if (!now) continue;
    auto& [read, wrapped] = last.try_emplace(name, *now, 0.0).first->second;
    if (*now < read) wrapped += number_in(entry.path() / "max_energy_range_uj").value_or(0);
    read = *now;
    sum += 1e-6 * (*now + wrapped);
    any = true;
  }
  if (!any) return std::nullopt;
  return sum;
}

}  // namespace

ProcessCost process_cost() {
  return {seconds_of(RUSAGE_SELF) + seconds_of(RUSAGE_CHILDREN), peak_mb(), joules()};
}

}  // namespace zeroth
