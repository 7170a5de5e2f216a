// What Hugging Face tokenizers 0.23 takes a character for, where it asks no regular expression. Its tables are of
// several Unicode versions: white space and lower case are Rust's (Unicode 17), marks, punctuation and decompositions
// those of crates from Unicode 8 and 9. Thread-safe.
#pragma once

#include <string>

namespace gridquant::text {

bool is_white_space(char32_t c);
bool is_mark(char32_t c);         // StripAccents takes it away
bool is_punctuation(char32_t c);  // to the pre-tokenizer Punctuation; all of ASCII's symbols too

// Newer than the library's tables of combining classes and decompositions: a letter to it that nothing happens to.
bool is_unknown_to_normal_forms(char32_t c);
bool is_unknown_to_compatibility(char32_t c);  // with NFKC and NFKD these too

void append_lower_case(std::string& to, char32_t c);  // one character by itself, no final sigma

}  // namespace gridquant::text
