#include "cli/http_command.h"

#include <cstdio>
#include <filesystem>
#include <thread>
#include <tuple>

#include "cli/interrupt.h"

namespace zeroth {

HttpServerOptions listening(const std::string& listen, const std::string& certificate,
                            const std::string& key) {
  HttpServerOptions options;
  std::tie(options.address, options.port) = parse_listen(listen, "--listen");
  options.certificate_file = certificate;
  options.key_file = key;
  options.connections = 4096;
  return options;
}

std::string served_name(const std::string& model) {
  std::filesystem::path path(model);
  if (!path.has_filename()) path = path.parent_path();
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(path, error);
  return (error ? path : real).filename().string();
}

void add_metric(std::string& out, const std::string& name, const char* type, int64_t value) {
  out += "# TYPE " + name + " " + type + "\n" + name + " " + std::to_string(value) + "\n";
}

int serve_until_signal(HttpServer& server, const HttpServerOptions& options, const char* path,
                       const std::string& note, const std::atomic<bool>& stop) {
  const bool six = options.address.find(':') != std::string::npos;
  std::printf("%s://%s:%d%s\n", server.tls() ? "https" : "http",
              (six ? "[" + options.address + "]" : options.address).c_str(), server.port(), path);
  std::fflush(stdout);
  std::fprintf(stderr, "%s; Ctrl-C ends it\n", note.c_str());
  while (!stop) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  server.stop();
  return interrupt_exit_code();
}

}  // namespace zeroth
