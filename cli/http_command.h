// What the commands share that answer by HTTP until a signal comes.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "net/http_server.h"

namespace zeroth {

// Flags listen, certificate and key as a server's options. Throws a usage Error for another form than
// HOST:PORT.
HttpServerOptions listening(const std::string& listen, const std::string& certificate,
                            const std::string& key);

// The folder's name, links followed; of a .gguf file its own.
std::string served_name(const std::string& model);

// One number for Prometheus: `type` is "gauge" or "counter".
void add_metric(std::string& out, const std::string& name, const char* type, int64_t value);

// Of a server that was started with `options`: prints its address and `path` on standard output and
// `note` on standard error, waits for `stop` (cli/interrupt.h), and stops it. Returns the exit code.
int serve_until_signal(HttpServer& server, const HttpServerOptions& options, const char* path,
                       const std::string& note, const std::atomic<bool>& stop);

}  // namespace zeroth
