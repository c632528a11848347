#include "core/error.h"
#include "policy/forward.h"

namespace zeroth {

struct KvCache::Impl {
  explicit Impl(const kernels::Operators& operators) : ops(operators) {}

  const kernels::Operators& ops;
  int64_t pages = 0;
  int layers = 0;
  kernels::DevicePages shape = {};                         // without arrays
  kernels::Array<float> k{ops.device()}, v{ops.device()};  // [layers][pages][page]
};

KvCache::KvCache(const PolicyConfig& config, int64_t pages, const kernels::Operators& ops)
    : impl_(std::make_unique<Impl>(ops)) {
  impl_->pages = pages;
  impl_->layers = config.layers;
  impl_->shape.kv_heads = config.cache_heads();
  impl_->shape.k_dim = config.k_dim();
  impl_->shape.v_dim = config.v_dim();
  try {
    impl_->k.get(config.layers * pages * impl_->shape.k_page());
    impl_->v.get(config.layers * pages * impl_->shape.v_page());
  } catch (const std::bad_alloc&) {
    const int64_t page = impl_->shape.k_page() + impl_->shape.v_page();
    fail("not enough memory for a key/value cache of " + std::to_string(pages) + " pages (" +
             std::to_string(config.layers * pages * page >> 18) + " MiB)",
         "lower the cache size or the batch");
  }
  zero();
}

KvCache::~KvCache() = default;

int64_t KvCache::pages() const { return impl_->pages; }

int64_t KvCache::bytes() const {
  const int64_t page = impl_->shape.k_page() + impl_->shape.v_page();
  return impl_->layers * impl_->pages * page * static_cast<int64_t>(sizeof(float));
}

const kernels::Device& KvCache::device() const { return impl_->ops.device(); }

kernels::DevicePages KvCache::layer(int layer) const {
  kernels::DevicePages out = impl_->shape;
  out.k = impl_->k.data() + layer * impl_->pages * out.k_page();
  out.v = impl_->v.data() + layer * impl_->pages * out.v_page();
  return out;
}

void KvCache::copy_page(int32_t from, int32_t to) {
  for (int l = 0; l < impl_->layers; ++l) impl_->ops.copy_page(layer(l), from, to);
}

// Attention skips slots that were never written (docs/numerics.md). Zeros make a fault that reads
// one nevertheless repeatable.
void KvCache::zero() {
  if (impl_->pages == 0) return;
  const int64_t pages = impl_->layers * impl_->pages;
  clear(device(), impl_->k.data(), pages * impl_->shape.k_page());
  clear(device(), impl_->v.data(), pages * impl_->shape.v_page());
}

}  // namespace zeroth
