// Who owns which page of the KV cache: a free list with reference counts.
#pragma once

#include <cstdint>
#include <vector>

namespace zeroth {

// Pages are numbered 0 .. pages - 1. The order in which they are handed out is a pure function of
// the calls made before (last freed, first reused: its memory is still warm). Not thread safe.
class PagePool {
 public:
  explicit PagePool(int64_t pages);

  // A page with one reference, or -1 when none is free.
  int32_t allocate();
  // One more or one fewer owner; the last release frees the page. The page must be in use, else
  // std::logic_error: a wrong count would let two sequences write the same memory.
  void retain(int32_t page);
  void release(int32_t page);

  int64_t pages() const { return pages_; }
  int64_t free_pages() const { return pages_ - used_; }
  int32_t references(int32_t page) const;

 private:
  int32_t& count(int32_t page);

  int64_t pages_;
  int64_t used_ = 0;
  std::vector<int32_t> references_;  // of the pages handed out so far; grows on demand
  std::vector<int32_t> freed_;
};

}  // namespace zeroth
