// What a user gets to read.
#pragma once

#include <stdexcept>
#include <string>

namespace livejam {

struct Error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

inline void require(bool condition, const std::string &otherwise) {
    if (!condition) throw Error(otherwise);
}

// Allocates nothing where the condition holds.
inline void require(bool condition, const char *otherwise) {
    if (!condition) throw Error(otherwise);
}

}  // namespace livejam
