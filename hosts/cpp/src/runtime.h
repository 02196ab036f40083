// What a runtime must do: run a graph on memory that stays where it is.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "signature.h"

namespace livejam {

// Of one tensor; 4 bytes per number, float32 or int32.
struct Buffer {
    std::vector<float> words;  // int32 are copied in and out bit by bit

    float *floats() { return words.data(); }
};

using Buffers = std::map<std::string, Buffer>;

class Graph {
public:
    virtual ~Graph() = default;

    // Read the inputs and write the outputs; throws Error.
    virtual void run() = 0;
};

class Runtime {
public:
    virtual ~Runtime() = default;

    // A graph whose inputs and outputs are the buffers of their names, which outlive it; throws Error.
    virtual std::unique_ptr<Graph> open(const std::filesystem::path &file, const GraphFacts &facts, Buffers &inputs,
                                        Buffers &outputs) = 0;
};

// The one that CMake chose; it computes with one thread.
std::unique_ptr<Runtime> make_runtime();

}  // namespace livejam
