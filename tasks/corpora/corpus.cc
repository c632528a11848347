#include "tasks/corpora/corpus.h"

#include <functional>

#include "tasks/corpora/corpus_arithmetic.h"
#include "tasks/corpora/corpus_countdown.h"
#include "tasks/corpora/corpus_fractions.h"
#include "tasks/corpora/corpus_parity.h"
#include "tasks/corpora/corpus_programs.h"

namespace zeroth {
namespace {

constexpr int kMaxParts = 64;

// Documents of several corpora, each drawn with its weight.
class MixtureCorpus : public Corpus {
 public:
  explicit MixtureCorpus(const Json& options) {
    if (!options.is_object() || options.size() != 1 || !options.contains("parts") ||
        !options["parts"].is_array() || options["parts"].empty() ||
        options["parts"].size() > kMaxParts) {
      fail_usage("corpus mixture: options " + options.dump().substr(0, 200),
                 "give {\"parts\": [{\"corpus\": NAME, \"weight\": W, \"options\": {..}}, ..]}, "
                 "1..64 parts");
    }
    for (const Json& part : options["parts"]) {
      Part spec;
      load_config(spec, part, "corpus mixture");
      // One level only: a mixture of mixtures is a mixture with other weights.
      if (spec.corpus == "mixture")
        fail_usage("corpus mixture: a part is a mixture itself", "list its parts here");
      total_ += spec.weight;
      corpora_.push_back(make_corpus(spec.corpus, spec.options));
      bounds_.push_back(total_);
    }
  }

  Document document(uint64_t seed, int64_t index) const override {
    // Separate from the stream that the part itself draws from.
    constexpr uint64_t kChoice = 0x9e3779b97f4a7c15u;
    const double pick = document_rng(seed ^ kChoice, index).uniform() * total_;
    size_t part = 0;
    while (part + 1 < corpora_.size() && pick >= bounds_[part]) ++part;
    return corpora_[part]->document(seed, index);
  }

 private:
  struct Part {
    std::string corpus;
    double weight = 1;
    Json options = Json::object();
    template <class V>
    void fields(V& v) {
      v("corpus", corpus, "name of the corpus");
      v("weight", weight, "share of the documents, relative to the other parts", Range{1e-9, 1e9});
      v("options", options, "options of the corpus");
    }
  };
  std::vector<std::unique_ptr<Corpus>> corpora_;
  std::vector<double> bounds_;
  double total_ = 0;
};

std::unique_ptr<Corpus> countdown_corpus(const Json& json) {
  CountdownCorpusOptions options;
  load_config(options, json, "corpus countdown");  // for the preset
  options.use_preset();
  load_config(options, json, "corpus countdown");  // what is given wins over the preset
  return std::make_unique<CountdownCorpus>(std::move(options));
}

template <class CorpusType, class Options>
std::unique_ptr<Corpus> plain_corpus(const Json& json, const std::string& source) {
  Options options;
  load_config(options, json, source);
  return std::make_unique<CorpusType>(std::move(options));
}

}  // namespace

std::unique_ptr<Corpus> make_corpus(const std::string& name, const Json& options) {
  const Json& given = options.is_null() ? Json::object() : options;
  if (name == "countdown") return countdown_corpus(given);
  if (name == "parity")
    return plain_corpus<ParityCorpus, ParityCorpusOptions>(given, "corpus parity");
  if (name == "arithmetic") {
    return plain_corpus<ArithmeticCorpus, ArithmeticCorpusOptions>(given, "corpus arithmetic");
  }
  if (name == "programs") {
    return plain_corpus<ProgramsCorpus, ProgramsCorpusOptions>(given, "corpus programs");
  }
  if (name == "fractions") {
    return plain_corpus<FractionsCorpus, FractionsCorpusOptions>(given, "corpus fractions");
  }
  if (name == "mixture") return std::make_unique<MixtureCorpus>(given);
  const std::vector<std::string> names = {"countdown", "parity",    "arithmetic",
                                          "programs",  "fractions", "mixture"};
  const std::string near = nearest(name, names);
  fail_usage("no corpus is named \"" + name + "\"" +
                 (near.empty() ? "" : "; did you mean \"" + near + "\"?"),
             "use countdown, parity, arithmetic, programs, fractions or mixture");
}

}  // namespace zeroth
