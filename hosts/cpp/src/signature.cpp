#include "signature.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "error.h"

namespace livejam {
namespace {

using Json = nlohmann::json;

constexpr int FORMAT = 1;
constexpr uintmax_t LARGEST_JSON = 1 << 24;
constexpr int64_t LARGEST_TENSOR = int64_t{1} << 28;

int64_t integer(const Json &held, const char *name, int64_t least, int64_t most) {
    const Json &value = held.at(name);
    require(value.is_number_integer(), std::string(name) + " is no integer");
    const auto found = value.get<int64_t>();
    require(least <= found && found <= most, std::string(name) + " is " + std::to_string(found));
    return found;
}

TensorFacts tensor(const Json &held) {
    TensorFacts facts{held.at("name"), held.at("dtype"), held.at("feeds"), held.at("shape")};
    require(facts.dtype == "float32" || facts.dtype == "int32", facts.name + " is of the type " + facts.dtype);
    int64_t count = 1;
    for (const int64_t size : facts.shape) {
        require(0 < size && size <= LARGEST_TENSOR / count, facts.name + " has an absurd shape");
        count *= size;
    }
    return facts;
}

GraphFacts graph(const Json &held) {
    GraphFacts facts{held.at("name"), held.at("file"), {}, {}};
    const std::filesystem::path file = facts.file;
    require(!facts.file.empty() && file == file.filename() && facts.file != "..", facts.file + " is no file's name");
    for (const Json &one : held.at("inputs")) facts.inputs.push_back(tensor(one));
    for (const Json &one : held.at("outputs")) facts.outputs.push_back(tensor(one));
    return facts;
}

InstrumentFacts instrument(const Json &held) {
    return {held.at("name"), static_cast<int32_t>(integer(held, "index", INT32_MIN, INT32_MAX)), held.at("aliases")};
}

NoiseFacts noise(const Json &held) {
    const std::string algorithm = held.at("algorithm");
    require(algorithm == "splitmix64-box-muller", "its noise is " + algorithm);
    const auto any = [&](const char *name) { return integer(held, name, INT64_MIN, INT64_MAX); };
    const auto size = [&](const char *name) { return integer(held, name, 1, 1 << 20); };
    return {size("draws"),         size("frames"),            size("channels"), any("first_position"),
            any("positions_per_step"), any("draw_stride")};
}

Signature signature(const Json &held) {
    Signature facts{};
    facts.sample_rate_hz = static_cast<int>(integer(held, "sample_rate_hz", 4000, 400000));
    facts.audio_channels = static_cast<int>(integer(held, "audio_channels", 1, 2));
    facts.block_samples = static_cast<int>(integer(held, "block_samples", 1, 1 << 22));
    facts.anticipation_frames = static_cast<int>(integer(held, "anticipation_frames", -(1 << 20), 1 << 20));
    facts.first_output_sample = static_cast<int>(integer(held, "first_output_sample", -(1 << 24), 1 << 24));
    facts.default_instrument = static_cast<int32_t>(integer(held, "default_instrument", INT32_MIN, INT32_MAX));
    for (const Json &one : held.at("instruments")) facts.instruments.push_back(instrument(one));
    facts.noise = noise(held.at("noise"));
    for (const Json &one : held.at("graphs")) facts.graphs.push_back(graph(one));
    const Json prompts = held.value("prompts", Json());  // older directories have none
    if (!prompts.is_null()) {
        facts.prompts = prompts.at("texts").get<std::vector<std::string>>();
        facts.negative_prompts = prompts.value("negative", false);  // which is younger than the texts
    }
    return facts;
}

template <typename Read>
auto undamaged(const std::filesystem::path &path, Read read) {
    try {
        return read();
    } catch (const std::exception &error) {
        throw Error(path.string() + " is damaged (" + error.what() + "); export the model again");
    }
}

}  // namespace

size_t TensorFacts::count() const {
    size_t count = 1;
    for (const int64_t size : shape) count *= static_cast<size_t>(size);
    return count;
}

std::string read_text(const std::filesystem::path &path, uintmax_t limit) {
    std::error_code trouble;
    const uintmax_t size = std::filesystem::file_size(path, trouble);
    require(!trouble, path.string() + " cannot be read (" + trouble.message() + "); export the model again");
    require(size <= limit, path.string() + " is too large; export the model again");
    std::string text(size, '\0');
    std::ifstream file(path, std::ios::binary);
    require(static_cast<bool>(file.read(text.data(), static_cast<std::streamsize>(size))),
            path.string() + " cannot be read; export the model again");
    return text;
}

Signature read_signature(const std::filesystem::path &folder) {
    const auto path = folder / "signature.json";
    require(std::filesystem::is_regular_file(path),
            folder.string() + " has no signature.json; make it with `livejam export --checkpoint C --out DIR`");
    const std::string text = read_text(path, LARGEST_JSON);
    const Json held = undamaged(path, [&] { return Json::parse(text); });
    const int64_t format = undamaged(path, [&] { return integer(held, "format", INT64_MIN, INT64_MAX); });
    require(format == FORMAT, path.string() + " has format " + std::to_string(format) +
                                  ", but this player reads format " + std::to_string(FORMAT) +
                                  "; export the model again");
    return undamaged(path, [&] { return signature(held); });
}

}  // namespace livejam
