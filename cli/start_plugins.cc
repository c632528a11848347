#include "cli/start_plugins.h"

#include "cli/output.h"
#include "core/error.h"
#include "tasks/task.h"

namespace zeroth {

void ask_for_plugins(const std::string& run, const std::string& task, const Json& options,
                     bool allowed) {
  if (allowed || !starts_plugin(task, options)) return;
  fail_usage("the run " + run + " names a plug-in, which would be started: " + task + " " +
                 json_line(options),
             "if you trust that, add --start-plugins");
}

}  // namespace zeroth
