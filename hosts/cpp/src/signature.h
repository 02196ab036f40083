// signature.json: docs/export.md explains its fields.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace livejam {

struct TensorFacts {
    std::string name, dtype, feeds;
    std::vector<int64_t> shape;

    size_t count() const;  // numbers, of 4 bytes each
};

struct GraphFacts {
    std::string name, file;
    std::vector<TensorFacts> inputs, outputs;
};

struct InstrumentFacts {
    std::string name;
    int32_t index;
    std::vector<std::string> aliases;
};

struct NoiseFacts {
    int64_t draws, frames, channels, first_position, positions_per_step, draw_stride;
};

struct Signature {
    int sample_rate_hz, audio_channels, block_samples, anticipation_frames, first_output_sample;
    int32_t default_instrument;
    std::vector<InstrumentFacts> instruments;
    NoiseFacts noise;
    std::vector<GraphFacts> graphs;
    std::vector<std::string> prompts;  // that are stored whole; none of a model that takes no words
    bool negative_prompts;             // whether it can be led away from them
};

// Throws Error: there is none, it is of another format, or damaged.
Signature read_signature(const std::filesystem::path &folder);

// Whole file, at most `limit` bytes; throws Error.
std::string read_text(const std::filesystem::path &path, uintmax_t limit);

}  // namespace livejam
