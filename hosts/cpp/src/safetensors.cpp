#include "safetensors.h"

#include <cstring>
#include <nlohmann/json.hpp>

#include "error.h"
#include "signature.h"

namespace livejam {
namespace {

using Json = nlohmann::json;

constexpr uintmax_t LARGEST_FILE = uintmax_t{1} << 32;

uint64_t header_bytes(const std::string &file) {
    require(file.size() >= 8, "it has no header");
    uint64_t length = 0;
    for (int byte = 7; byte >= 0; --byte) length = length << 8 | static_cast<unsigned char>(file[byte]);
    require(length <= file.size() - 8, "its header is cut off");
    return length;
}

uint64_t bytes_per_number(const std::string &dtype) {
    if (dtype == "F32" || dtype == "I32") return 4;
    if (dtype == "F64" || dtype == "I64") return 8;
    throw Error("tensors of the type " + dtype + " are not expected here");
}

StoredTensor stored(const Json &facts, const char *data, uint64_t available) {
    StoredTensor tensor{facts.at("dtype"), facts.at("shape"), {}};
    const auto begin = facts.at("data_offsets").at(0).get<uint64_t>();
    const auto end = facts.at("data_offsets").at(1).get<uint64_t>();
    require(begin <= end && end <= available, "a tensor lies outside the file");
    uint64_t bytes = bytes_per_number(tensor.dtype);
    for (const int64_t size : tensor.shape) {
        require(size >= 0 && (size == 0 || bytes <= available / static_cast<uint64_t>(size)), "a shape is too large");
        bytes *= static_cast<uint64_t>(size);
    }
    require(bytes == end - begin, "a shape does not fit its data");
    tensor.bytes.assign(data + begin, bytes);
    return tensor;
}

}  // namespace

std::map<std::string, StoredTensor> read_safetensors(const std::filesystem::path &path) {
    const std::string file = read_text(path, LARGEST_FILE);
    try {
        const uint64_t length = header_bytes(file);
        const Json header = Json::parse(file.data() + 8, file.data() + 8 + length);
        std::map<std::string, StoredTensor> tensors;
        for (const auto &[name, facts] : header.items()) {
            if (name == "__metadata__") continue;
            tensors.emplace(name, stored(facts, file.data() + 8 + length, file.size() - 8 - length));
        }
        return tensors;
    } catch (const std::exception &error) {
        throw Error(path.string() + " is damaged (" + error.what() + "); export the model again");
    }
}

}  // namespace livejam
