#include "tasks/plugins/so_host.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cmath>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

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
        plugin_->size < offsetof(zeroth_plugin, grade_group) || plugin_->grade == nullptr) {
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
    if (op == "step") {
      step(request, early);
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
    if (sees_groups()) reply["groups"] = true;
    if (answers_turns()) {
      reply["turns"] = plugin_->max_turns > 0 ? Json(plugin_->max_turns) : Json(true);
    }
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

  bool sees_groups() const {
    return plugin_->size >= offsetof(zeroth_plugin, grade_group) + sizeof(void*) &&
           plugin_->grade_group != nullptr;
  }

  bool answers_turns() const {
    return plugin_->size >= offsetof(zeroth_plugin, max_turns) + sizeof(int) &&
           plugin_->step != nullptr;
  }

  void step(const Json& request, const std::function<void(const Json&)>& early) {
    if (!answers_turns()) fail("it answers no turns");
    const Json& batch = request.at("batch");
    for (size_t i = 0; i < batch.size(); ++i)
      early({{"results", Json::array({step_one(batch[i])})}, {"more", i + 1 < batch.size()}});
  }

  Json step_one(const Json& item) {
    const Given given(item);
    const zeroth_problem problem = given.problem();
    const Json turns = item.value("turns", Json::array());
    std::vector<std::string> texts;  // of the turns, two each
    for (const Json& turn : turns) {
      texts.push_back(text_field(turn, "reply"));
      texts.push_back(text_field(turn, "observation"));
    }
    std::vector<zeroth_turn> before;
    for (size_t i = 0; i < turns.size(); ++i)
      before.push_back({view(texts[2 * i]), view(texts[2 * i + 1]), turns[i].value("reward", 0.0)});
    const std::string reply = text_field(item, "reply");
    zeroth_step result = {};
    const int code = plugin_->step(state_, &problem, before.size(), before.data(), view(reply),
                                   given.finish, &result);
    if (code != 0 || result.error.data != nullptr) {
      std::string why = text_of(result.error);
      if (why.empty()) why = "step failed with code " + std::to_string(code);
      return {{"error", why}};
    }
    if (!std::isfinite(result.reward)) return {{"error", "the reward is not finite"}};
    Json row = {{"reward", result.reward}, {"done", result.done != 0}};
    row["observation"] = text_of(result.observation);
    if (result.info.data != nullptr) row["info"] = given_json(result.info, "info");
    return row;
  }

  // Every result is sent as soon as it is known: a crash then loses only the one it happens on.
  void grade(const Json& request, const std::function<void(const Json&)>& early) {
    const Json& batch = request.at("batch");
    for (size_t i = 0; i < batch.size();) {
      size_t end = i + 1;
      const bool grouped = sees_groups() && batch[i].contains("group");
      while (grouped && end < batch.size() &&
             batch[end].value("group", Json()) == batch[i]["group"])
        ++end;
      Json results = Json::array();
      if (sees_groups()) {
        results = grade_together(batch, i, end);
      } else {
        results.push_back(grade_one(batch[i]));
      }
      i = end;
      early({{"results", results}, {"more", i < batch.size()}});
    }
  }

  // The texts of one completion, which must outlive the call that grades it.
  struct Given {
    explicit Given(const Json& item)
        : id(text_field(item.at("problem"), "id")),
          prompt(text_field(item.at("problem"), "prompt")),
          reference(text_field(item.at("problem"), "answer")),
          completion(text_field(item, "completion")),
          answer(text_field(item, "answer")),
          answered(item.contains("answer") && item["answer"].is_string()) {
      const Json& problem = item.at("problem");
      if (problem.contains("meta") && !problem["meta"].is_null()) meta = dumped(problem["meta"]);
      const std::string name = text_field(item, "finish");
      finish = name == "length"    ? ZEROTH_FINISH_LENGTH
               : name == "aborted" ? ZEROTH_FINISH_ABORTED
                                   : ZEROTH_FINISH_STOP;
    }
    zeroth_problem problem() const { return {view(id), view(prompt), view(reference), view(meta)}; }
    zeroth_text given_answer() const { return answered ? view(answer) : zeroth_text{nullptr, 0}; }
    std::string id, prompt, reference, meta, completion, answer;
    bool answered;
    int finish = ZEROTH_FINISH_STOP;
  };

  Json grade_one(const Json& item) {
    const Given given(item);
    const zeroth_problem problem = given.problem();
    zeroth_result result = {};
    const int code = plugin_->grade(state_, &problem, view(given.completion), given.given_answer(),
                                    given.finish, &result);
    return result_row(code, result);
  }

  Json grade_together(const Json& batch, size_t begin, size_t end) {
    std::vector<Given> given;
    for (size_t i = begin; i < end; ++i) given.emplace_back(batch[i]);
    std::vector<zeroth_text> completions, answers;
    std::vector<int> finishes;
    for (const Given& one : given) {
      completions.push_back(view(one.completion));
      answers.push_back(one.given_answer());
      finishes.push_back(one.finish);
    }
    const zeroth_problem problem = given[0].problem();
    std::vector<zeroth_result> results(given.size(), zeroth_result{});
    const int code = plugin_->grade_group(state_, &problem, given.size(), completions.data(),
                                          answers.data(), finishes.data(), results.data());
    Json rows = Json::array();
    for (const zeroth_result& result : results) rows.push_back(result_row(code, result));
    return rows;
  }

  static Json result_row(int code, const zeroth_result& result) {
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
