#include "tasks/plugins/so_host.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <iostream>
#include <string>

#include "core/config.h"
#include "core/error.h"
#include "core/json_text.h"
#include "tasks/plugins/plugin_abi.h"

namespace zeroth {
namespace {

zeroth_text view(const std::string& text) { return {text.data(), text.size()}; }

std::string text_of(const zeroth_text& text) {
  return text.data == nullptr ? std::string() : std::string(text.data, text.size);
}

// JSON that the library gives; the answer holds it three levels down and is read by parse_json.
Json given_json(const zeroth_text& text, const char* name) {
  return parse_json(text_of(text), name, JsonBounds{.depth = 125});
}

std::string text_field(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::string dumped(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

class Library {
 public:
  explicit Library(const std::filesystem::path& file) {
    const std::filesystem::path path = std::filesystem::absolute(file);
    void* handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      const char* why = ::dlerror();
      fail("cannot load " + path.string() + ": " + (why == nullptr ? "?" : why),
           "build it as a shared library: cc -shared -fPIC -o NAME.so NAME.c");
    }
    const auto entry =
        reinterpret_cast<decltype(&zeroth_plugin_v1)>(::dlsym(handle, "zeroth_plugin_v1"));
    if (entry == nullptr) {
      fail(path.string() + " exports no zeroth_plugin_v1",
           "define it as in tasks/plugins/plugin_abi.h; from C++ with extern \"C\"");
    }
    plugin_ = entry();
    if (plugin_ == nullptr || plugin_->abi != ZEROTH_PLUGIN_ABI ||
        plugin_->size < sizeof(zeroth_plugin) || plugin_->grade == nullptr) {
      fail(path.string() + ": zeroth_plugin_v1 gave no plug-in of version " +
               std::to_string(ZEROTH_PLUGIN_ABI) + " with a grade function",
           "set abi, size and grade, and build it against this tasks/plugins/plugin_abi.h");
    }
  }
  ~Library() {
    if (open_ && plugin_->close != nullptr) plugin_->close(state_);
  }

  Json answer(const Json& request, const std::function<void(const Json&)>& early) {
    const std::string op = text_field(request, "op");
    if (op == "hello") return hello(request);
    if (!open_) fail("no hello yet");
    if (op == "problems") return problems(request);
    if (op == "grade") {
      grade(request, early);
      return nullptr;
    }
    fail("unknown op \"" + op + "\"");
  }

 private:
  Json hello(const Json& request) {
    if (!open_ && plugin_->open != nullptr) {
      const std::string options = dumped(request.value("options", Json::object()));
      state_ = plugin_->open(view(options));
      if (state_ == nullptr) fail("its open function refused the options " + options);
    }
    open_ = true;
    Json reply = {{"zeroth", 1}};
    if (plugin_->name != nullptr) reply["name"] = plugin_->name;
    if (plugin_->count != nullptr && plugin_->problem != nullptr) {
      reply["train"] = plugin_->count(state_, ZEROTH_TRAIN);
      reply["held_out"] = plugin_->count(state_, ZEROTH_HELD_OUT);
    }
    return reply;
  }

  Json problems(const Json& request) {
    if (plugin_->problem == nullptr) fail("it makes no problems");
    const int split = text_field(request, "split") == "held_out" ? ZEROTH_HELD_OUT : ZEROTH_TRAIN;
    Json list = Json::array();
    for (const Json& index : request.at("indices")) {
      zeroth_problem problem = {};
      const int code = plugin_->problem(state_, split, index.get<int64_t>(), &problem);
      if (code != 0) fail("problem " + index.dump() + " failed with code " + std::to_string(code));
      Json row = {{"prompt", text_of(problem.prompt)}, {"answer", text_of(problem.answer)}};
      if (problem.id.data != nullptr) row["id"] = text_of(problem.id);
      if (problem.meta.data != nullptr) row["meta"] = given_json(problem.meta, "meta");
      list.push_back(std::move(row));
    }
    return {{"problems", list}};
  }

  // Every result is sent as soon as it is known: a crash then loses only the one it happens on.
  void grade(const Json& request, const std::function<void(const Json&)>& early) {
    const Json& batch = request.at("batch");
    for (size_t i = 0; i < batch.size(); ++i) {
      early({{"results", Json::array({grade_one(batch[i])})}, {"more", i + 1 < batch.size()}});
    }
  }

  Json grade_one(const Json& item) {
    const Json& given = item.at("problem");
    const std::string id = text_field(given, "id"), prompt = text_field(given, "prompt"),
                      reference = text_field(given, "answer"),
                      meta = given.contains("meta") && !given["meta"].is_null()
                                 ? dumped(given["meta"])
                                 : std::string(),
                      completion = text_field(item, "completion"),
                      answer = text_field(item, "answer"), finish = text_field(item, "finish");
    const zeroth_problem problem = {view(id), view(prompt), view(reference), view(meta)};
    const bool answered = item.contains("answer") && item["answer"].is_string();
    zeroth_result result = {};
    const int code = plugin_->grade(state_, &problem, view(completion),
                                    answered ? view(answer) : zeroth_text{nullptr, 0},
                                    finish == "length"    ? ZEROTH_FINISH_LENGTH
                                    : finish == "aborted" ? ZEROTH_FINISH_ABORTED
                                                          : ZEROTH_FINISH_STOP,
                                    &result);
    if (code != 0 || result.error.data != nullptr) {
      std::string why = text_of(result.error);
      if (why.empty()) why = "grade failed with code " + std::to_string(code);
      return {{"error", why}};
    }
    if (!std::isfinite(result.score)) return {{"error", "the score is not finite"}};
    Json row = {{"score", result.score}};
    if (result.extracted.data != nullptr) row["extracted"] = text_of(result.extracted);
    if (result.parts.data != nullptr) row["parts"] = given_json(result.parts, "parts");
    if (result.info.data != nullptr) row["info"] = given_json(result.info, "info");
    return row;
  }

  const zeroth_plugin* plugin_ = nullptr;
  void* state_ = nullptr;
  bool open_ = false;
};

}  // namespace

int serve_library(const std::filesystem::path& file) {
  // The protocol keeps the real standard output; the library's prints must not get between.
  const int out = ::dup(STDOUT_FILENO);
  if (out < 0 || ::dup2(STDERR_FILENO, STDOUT_FILENO) < 0) fail("cannot move standard output");
  FILE* answers = ::fdopen(out, "w");
  if (answers == nullptr) fail("cannot open standard output");
  Library library(file);
  for (std::string line; std::getline(std::cin, line);) {
    Json id;
    const auto say = [&](Json reply) {
      reply["id"] = id;
      std::fprintf(answers, "%s\n", dumped(reply).c_str());
      std::fflush(answers);
    };
    try {
      const Json request = parse_json(line, "request", kStoredJson);
      id = request.value("id", Json());
      const Json reply = library.answer(request, say);
      if (!reply.is_null()) say(reply);
    } catch (const std::exception& error) {
      say({{"error", error.what()}});
    }
  }
  std::fclose(answers);
  return 0;
}

}  // namespace zeroth
