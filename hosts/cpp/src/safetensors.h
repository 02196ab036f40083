// Files of the safetensors format: eight bytes with the length of a JSON header, the header, and the data.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace livejam {

struct StoredTensor {
    std::string dtype;  // as in the file: "F32", "I32", "I64", …
    std::vector<int64_t> shape;
    std::string bytes;
};

// All tensors by their names. Every size is compared with the file's; throws Error.
std::map<std::string, StoredTensor> read_safetensors(const std::filesystem::path &path);

}  // namespace livejam
