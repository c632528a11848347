// The roll call of a layer's saved fields: one that is missing in the list would be recalled as old
// memory, and only gradients would show it.
#include "policy/layer_state.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <string>

#include "policy/decoder.h"
#include "support.h"

namespace zeroth::test {
namespace {

const std::vector<TokenId> kTokens = {1, 5, 9, 2, 7, 3, 3, 8, 1, 4, 2, 2, 6, 5, 1, 1, 9, 8, 7};

// Bytes of every field of a layer, by name, for m rows.
std::map<std::string, std::string> contents(LayerState& state, const LayerWidths& widths,
                                            int64_t m) {
  std::map<std::string, std::string> out;
  state.each(widths, [&](const SavedField& field, auto& member) {
    using Value = std::remove_cvref_t<decltype(*member.data().address())>;
    int64_t count = m * field.width * (field.order == SavedOrder::kChoice ? widths.choices : 1);
    if (field.order == SavedOrder::kDerived && widths.experts > 0)
      count = field.name == std::string("order") ? m * widths.choices : widths.experts + 1;
    const char* data = reinterpret_cast<const char*>(member.data().address());
    out[field.name] = count > 0 ? std::string(data, count * sizeof(Value)) : std::string();
  });
  return out;
}

void poison(LayerState& state, const LayerWidths& widths, int64_t m) {
  state.each(widths, [&](const SavedField& field, auto& member) {
    const int64_t rows = field.order == SavedOrder::kChoice ? m * widths.choices : m;
    auto* data = member.get(rows * field.width).address();
    if (field.width > 0) std::memset(data, 0xff, rows * field.width * sizeof(*data));
  });
}

TEST_CASE("every member of a layer's state is in the list, once") {
  LayerState state;
  std::set<std::string> names;
  size_t listed = 0;
  state.each(LayerWidths(), [&](const SavedField& field, auto& member) {
    CHECK(names.insert(field.name).second);
    listed += sizeof(member);
  });
  CHECK(listed == sizeof(LayerState));
}

TEST_CASE("what forward leaves of every field comes back from the store, byte for byte") {
  std::set<std::string> met;
  for (NamedModel& model : all_models()) {
    CAPTURE(model.name);
    const WeightsPtr weights = model.policy->weights();
    const PolicyConfig& c = weights->config();
    PackedBatch batch;
    batch.add(std::span(kTokens).first(11));
    batch.add(kTokens);
    batch.finish();
    const int64_t m = batch.rows();
    KvCache cache(c, batch.pages());
    std::vector<float> hidden(m * c.width);
    ActivationStore store(64 << 20);
    store.begin(*weights);
    std::vector<int32_t> rows(m);
    for (int32_t& row : rows) row = store.take();
    std::reverse(rows.begin(), rows.end());
    Activations kept, back;
    weights->forward(batch.view(), cache, hidden.data(),
                     {.save = &kept, .store = &store, .store_rows = rows});
    back.impl().layers.resize(c.layers);
    for (int l = 0; l < c.layers; ++l) poison(back.impl().layers[l], LayerWidths(c, l), m);
    weights->recall(batch.view(), cache, hidden.data(), back, nullptr, store, rows);
    for (int l = 0; l < c.layers; ++l) {
      const LayerWidths widths(c, l);
      const auto want = contents(kept.impl().layers[l], widths, m);
      const auto got = contents(back.impl().layers[l], widths, m);
      for (const auto& [name, bytes] : want) {
        CAPTURE(name);
        CHECK(got.at(name) == bytes);
        if (!bytes.empty()) met.insert(name);
      }
    }
  }
  LayerState state;  // no field is for no model
  state.each(LayerWidths(), [&](const SavedField& field, auto&) {
    CAPTURE(field.name);
    CHECK(met.contains(field.name));
  });
}

}  // namespace
}  // namespace zeroth::test
