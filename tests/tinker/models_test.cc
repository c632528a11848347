#include "tinker/models.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "core/files.h"
#include "core/stopwatch.h"
#include "tests/rollout/tiny_models.h"

using namespace zeroth;
using namespace zeroth::tinker;

namespace {

// A client that waits for its answer.
class Waiting : public HttpExchange {
 public:
  const HttpRequest& request() const override { return request_; }
  void reply(HttpReply reply) override {
    std::lock_guard lock(mutex_);
    text_ = reply.text;
    open_ = false;
  }
  void begin(int, const std::string&) override {}
  bool write(std::string) override { return false; }
  void end() override {}
  bool open() const override {
    std::lock_guard lock(mutex_);
    return open_;
  }
  std::string text() const {
    while (open()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return text_;
  }

 private:
  HttpRequest request_;
  mutable std::mutex mutex_;
  bool open_ = true;
  std::string text_;
};

struct Fixture {
  std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("zeroth-tinker-" + std::to_string(::getpid()));
  LetterTokenizer tokenizer;
  std::unique_ptr<Policy> policy = tiny_policy("dense");
  Store store{folder};
  Futures futures;
  Samplers samplers{policy->weights(), {}, store, 2};
  Engine engine{policy->weights(), tokenizer, {}, samplers, futures};
  Models models{engine, futures, 2};
  double heard = 0;  // of all sessions but "loud"

  ~Fixture() { std::filesystem::remove_all(folder); }

  ModelPtr create(const std::string& id, const std::string& session) {
    return models.create(
        {id, session, "base", {}}, id + ":0",
        [] { return std::make_unique<Trainee>(TraineeOptions{}, LoraSpec{}, std::nullopt, false); },
        Json{{"model_id", id}},
        [this](const std::string& of) { return of == "loud" ? steady_now() : heard; });
  }
  std::string result(const std::string& future) {
    const auto waiting = std::make_shared<Waiting>();
    futures.retrieve(future, waiting);
    return waiting->text();
  }
};

}  // namespace

TEST_CASE("a model that cannot be made says why and takes no room") {
  Fixture f;
  f.create("a", "loud");  // its base is no checkpoint
  CHECK(f.result("a:0").find("\"error\"") != std::string::npos);
  CHECK(f.models.all().empty());
  f.models.sweep();
  CHECK(!f.models.contains("a"));
}

TEST_CASE("requests run in the order of their numbers, each once") {
  Fixture f;
  const ModelPtr model = f.create("a", "loud");
  model->failed = false;
  std::string order;
  const auto work = [&](char name) {
    return [&order, name](Model&) -> Result {
      order.push_back(name);
      return Json::object();
    };
  };
  // Nothing but the order is looked at: the model is not there, so what comes fails one by one.
  const std::string third = f.models.submit("a", 3, work('c'));
  CHECK(third == "a:3");
  const std::string second = f.models.submit("a", 2, work('b'));
  CHECK(f.models.submit("a", 3, work('x')) == third);
  CHECK(f.futures.pending() >= 2);
  const std::string first = f.models.submit("a", 1, work('a'));
  CHECK(f.models.submit("a", 1, work('y')) == first);
  const std::string fourth = f.models.submit("a", std::nullopt, work('d'));
  CHECK(fourth == "a:4");
  for (const std::string& future : {first, second, third, fourth})
    CHECK(f.result(future).find("could not be made") != std::string::npos);
  CHECK(order.empty());
}

TEST_CASE("a silent session's model makes room, a loud one's does not") {
  Fixture f;
  std::vector<ModelPtr> kept = {f.create("a", "loud"), f.create("b", "quiet")};
  for (const ModelPtr& model : kept) {
    f.result(model->facts.id + ":0");
    model->failed = false;  // as if it had been made
  }
  f.heard = steady_now() - 119;
  CHECK_THROWS_AS(f.create("c", "quiet"), Refusal);
  f.heard = steady_now() - 121;
  f.create("c", "quiet");
  CHECK(!f.models.contains("b"));
  CHECK(f.models.contains("a"));
}

TEST_CASE("a store deletes what it left itself, and nothing else") {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("zeroth-store-" + std::to_string(::getpid()));
  for (const char* name : {".git", ".zeroth-new-1", ".zeroth-old-7", "runs"})
    std::filesystem::create_directories(folder / name / "x");
  { Store store(folder); }
  CHECK(std::filesystem::exists(folder / ".git" / "x"));
  CHECK(std::filesystem::exists(folder / "runs" / "x"));
  CHECK(!std::filesystem::exists(folder / ".zeroth-new-1"));
  CHECK(!std::filesystem::exists(folder / ".zeroth-old-7"));
  // A save that fails leaves what was there.
  Store store(folder);
  const SavedPath path = {"s1:train:0", "one", true};
  const auto write = [](const std::string& text) {
    return [text](const std::filesystem::path& to) { write_file_atomic(to / "file", text); };
  };
  store.save(path, {"base", {}}, false, write("a"));
  CHECK_THROWS_AS(store.save(path, {"base", {}}, false, write("b")), Refusal);
  CHECK_THROWS(store.save(path, {"base", {}}, true,
                          [](const std::filesystem::path&) { throw std::runtime_error("full"); }));
  CHECK(read_file(folder / "s1_train_0" / "weights" / "one" / "file") == "a");
  store.save(path, {"base", {}}, true, write("c"));
  CHECK(read_file(folder / "s1_train_0" / "weights" / "one" / "file") == "c");
  CHECK(store.list("").size() == 1);
  CHECK(store.list("s1:train:0")[0].path.uri() == path.uri());
  store.remove(path);
  CHECK_THROWS_AS(store.open(path), Refusal);
  std::filesystem::remove_all(folder);
}

TEST_CASE("results are kept within a bound, those that were fetched go first") {
  Futures futures(4000);
  const auto fetch = [&](const std::string& id) {
    const auto waiting = std::make_shared<Waiting>();
    futures.retrieve(id, waiting);
    return waiting->text();
  };
  SampleResult result;
  result.sequences.push_back({true, std::vector<TokenId>(200, 1), std::vector<float>(200, -1)});
  for (const char* id : {"a", "b"}) {
    CHECK(futures.begin(id));
    CHECK(!futures.begin(id));
    futures.finish(id, result);
  }
  CHECK(fetch("b").find("sequences") != std::string::npos);
  CHECK(futures.begin("c"));
  futures.finish("c", result);
  CHECK(fetch("b").find("let go of") != std::string::npos);
  CHECK(fetch("a").find("sequences") != std::string::npos);
  CHECK(fetch("c").find("sequences") != std::string::npos);
  CHECK(futures.pending() == 0);
}
