// The byte-level alphabet of GPT-2: every byte is written as one printable character, so that a
// vocabulary of strings can hold any bytes (Radford et al., "Language models are unsupervised
// multitask learners", 2019, section 2.2, and its published encoder). Printable Latin-1 bytes stand
// for themselves; the other 68, in ascending order, are U+0100..U+0143.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace zeroth {

// The character of one byte, as UTF-8.
const std::string& byte_level_character(uint8_t byte);

// Every byte of `bytes` replaced by its character.
std::string to_byte_level(std::string_view bytes);

// Appends the bytes that `spelling` stands for; false (nothing appended) when a character of it is
// not of the alphabet.
bool append_from_byte_level(std::string_view spelling, std::string& bytes);

}  // namespace zeroth
