#include "text/lfs_pointer.h"

#include "core/error.h"

namespace zeroth {

void refuse_lfs_pointer(std::string_view content, const std::string& source) {
  if (!content.starts_with("version https://git-lfs.")) return;
  fail(source + " is a Git LFS pointer, not the file itself",
       "run git lfs pull in its repository, or fetch the file from its page");
}

}  // namespace zeroth
