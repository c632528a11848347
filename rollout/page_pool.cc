#include "rollout/page_pool.h"

#include <limits>
#include <stdexcept>
#include <string>

namespace zeroth {

PagePool::PagePool(int64_t pages) : pages_(pages) {
  if (pages < 0 || pages > std::numeric_limits<int32_t>::max()) {
    throw std::logic_error("page pool of " + std::to_string(pages) + " pages");
  }
}

int32_t PagePool::allocate() {
  if (used_ == pages_) return -1;
  ++used_;
  if (!freed_.empty()) {
    const int32_t page = freed_.back();
    freed_.pop_back();
    references_[page] = 1;
    return page;
  }
  references_.push_back(1);
  return static_cast<int32_t>(references_.size() - 1);
}

int32_t& PagePool::count(int32_t page) {
  if (page < 0 || page >= static_cast<int64_t>(references_.size()) || references_[page] == 0) {
    throw std::logic_error("page " + std::to_string(page) + " is not in use");
  }
  return references_[page];
}

void PagePool::retain(int32_t page) { ++count(page); }

void PagePool::release(int32_t page) {
  if (--count(page) > 0) return;
  --used_;
  freed_.push_back(page);
}

int32_t PagePool::references(int32_t page) const {
  const bool known = page >= 0 && page < static_cast<int64_t>(references_.size());
  return known ? references_[page] : 0;
}

}  // namespace zeroth
