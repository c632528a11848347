#include <algorithm>
#include <vector>

#include "core/error.h"
#include "model/image_codes.h"
#include "policy/delta_plan.h"
#include "policy/forward.h"

namespace zeroth {
namespace {

// As many states as take the memory of the slots, one a page at most.
int64_t states_of(const PolicyConfig& c, int64_t pages) {
  if (c.recurrent_layers() == 0) return 0;
  const int64_t page = kernels::kPageTokens * c.delta.slot();
  return std::clamp<int64_t>(pages * page / c.delta.state(), 1, std::max<int64_t>(1, pages));
}

}  // namespace

struct KvCache::Impl {
  Impl(const PolicyConfig& c, int64_t pages_in, const kernels::Operators& operators)
      : ops(operators),
        halves(image_codes(c).guided() ? 2 : 1),
        pages(pages_in * halves),
        slot(c.delta.slot()),
        state(c.delta.state()),
        table(pages, states_of(c, pages)) {
    shape.kv_heads = c.cache_heads();
    shape.k_dim = c.k_dim();
    shape.v_dim = c.v_dim();
    shape.values_in_keys = c.absorbed();
    recurrent = c.recurrent;
    for (int l = 0; l < c.layers; ++l) place.push_back(c.recurrent[l] ? deltas++ : attentions++);
  }

  const kernels::Operators& ops;
  // Guided models keep the rows without a prompt in pages behind those that callers know of.
  const int64_t halves;
  const int64_t pages;
  const int64_t slot, state;  // floats
  int64_t attentions = 0, deltas = 0;
  std::vector<char> recurrent;                             // by layer
  std::vector<int64_t> place;                              // by layer: among those of its kind
  kernels::DevicePages shape = {};                         // without arrays
  kernels::Array<float> k{ops.device()}, v{ops.device()};  // [layers][pages][page]
  kernels::Array<float> slots{ops.device()};               // [layers][pages][16][slot]
  kernels::Array<float> states{ops.device()};              // [layers][states][state]
  StateTable table;

  int64_t page_floats() const {
    return attentions * (shape.k_page() + shape.v_page()) + deltas * kernels::kPageTokens * slot;
  }
  int64_t floats() const { return pages * page_floats() + deltas * table.states() * state; }
  int64_t slot_floats() const { return pages * kernels::kPageTokens * slot; }  // of a layer
};

KvCache::KvCache(const PolicyConfig& config, int64_t pages, const kernels::Operators& ops)
    : impl_(std::make_unique<Impl>(config, pages, ops)) {
  Impl& i = *impl_;
  try {
    i.k.get(i.attentions * i.pages * i.shape.k_page());
    i.v.get(i.attentions * i.pages * i.shape.v_page());
    if (i.deltas > 0) {
      i.slots.get(i.deltas * i.slot_floats());
      i.states.get(i.deltas * i.table.states() * i.state);
    }
  } catch (const std::bad_alloc&) {
    fail("not enough memory for a key/value cache of " + std::to_string(pages) + " pages (" +
             std::to_string(i.floats() >> 18) + " MiB)",
         "lower the cache size or the batch");
  }
  zero();
}

KvCache::~KvCache() = default;

int64_t KvCache::pages() const { return impl_->pages / impl_->halves; }

int64_t KvCache::bytes() const { return impl_->floats() * static_cast<int64_t>(sizeof(float)); }

const kernels::Device& KvCache::device() const { return impl_->ops.device(); }

kernels::DevicePages KvCache::layer(int layer) const {
  const int64_t at = impl_->place[layer] * impl_->pages;
  kernels::DevicePages out = impl_->shape;
  out.k = impl_->k.data() + at * out.k_page();
  out.v = impl_->v.data() + at * out.v_page();
  return out;
}

kernels::At<float> KvCache::slots(int layer) const {
  return impl_->slots.data() + impl_->place[layer] * impl_->slot_floats();
}

kernels::At<float> KvCache::states(int layer) const {
  return impl_->states.data() + impl_->place[layer] * impl_->table.states() * impl_->state;
}

StateTable& KvCache::state_table() { return impl_->table; }
const StateTable& KvCache::state_table() const { return impl_->table; }

void KvCache::copy_page(int32_t from, int32_t to) {
  const int64_t page = kernels::kPageTokens * impl_->slot;
  for (int l = 0; l < static_cast<int>(impl_->place.size()); ++l) {
    if (impl_->recurrent[l]) {
      impl_->ops.copy(slots(l) + from * page, slots(l) + to * page, page);
    } else {
      const auto behind = static_cast<int32_t>(pages());
      for (int32_t half = 0; half < impl_->halves; ++half)
        impl_->ops.copy_page(layer(l), from + half * behind, to + half * behind);
    }
  }
  if (impl_->deltas > 0) impl_->table.forget(to);
}

// Attention skips slots that were never written (docs/numerics.md). Zeros make a fault that reads
// one nevertheless repeatable.
void KvCache::zero() {
  Impl& i = *impl_;
  if (i.pages == 0) return;
  clear(device(), i.k.data(), i.attentions * i.pages * i.shape.k_page());
  clear(device(), i.v.data(), i.attentions * i.pages * i.shape.v_page());
  if (i.deltas == 0) return;
  clear(device(), i.slots.data(), i.deltas * i.slot_floats());
  clear(device(), i.states.data(), i.deltas * i.table.states() * i.state);
  i.table.clear();
}

}  // namespace zeroth
