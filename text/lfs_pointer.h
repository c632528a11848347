// Git LFS pointers: the small texts that stand where a clone without LFS should have a file.
#pragma once

#include <string>
#include <string_view>

namespace zeroth {

// Throws Error naming `source`, saying what to do, when `content` is such a pointer.
void refuse_lfs_pointer(std::string_view content, const std::string& source);

}  // namespace zeroth
