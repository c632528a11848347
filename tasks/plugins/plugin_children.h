// What a plug-in starts ends with it, also in a session of its own, and with this process, however
// it ends.
#pragma once

#include <string>

namespace zeroth {

// The variable of the environment that names a worker of this process, "ZEROTH_PLUGIN=..". Every
// process that the worker starts inherits it. Another one for each call. Thread safe. The first
// call starts a keeper: a process that waits for the end of this one and then kills what is left.
std::string new_worker_mark();

// Kills every process whose environment holds the mark. Allocates nothing, so that it can be called
// between fork and exec. Processes that cleared their environment or belong to other users stay.
void kill_marked(const char* mark);

}  // namespace zeroth
