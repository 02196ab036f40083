// An exported model, step by step.
#pragma once

#include <atomic>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime.h"
#include "signature.h"

namespace livejam {

class Model {
public:
    // Reads all files and runs some steps, so that nothing is left to be prepared; throws Error.
    explicit Model(const std::filesystem::path &folder);

    // Hear and play a block, channel after channel; throws Error. What is not finite is silence, and a new beginning.
    void step(const float *mix, float *accompaniment);

    // Begin anew with the next step.
    void reset() { steps_ = 0; }

    // By a name or an alias, whatever its case; throws Error. The names are compared beside `step`.
    void set_instrument(const std::string &name);
    bool set_instrument(int number);

    // One of the stored prompts, whatever its case; "" = the instrument's own; throws Error. From the next step on.
    void set_prompt(const std::string &text);
    bool set_prompt(int number);  // -1 = the instrument's own; false where there is no such prompt

    // The same for what guidance leads away from; "" = nothing.
    void set_negative_prompt(const std::string &text);
    bool set_negative_prompt(int number);
    void set_seed(int64_t seed) { seed_ = seed < 0 ? 0 : static_cast<uint64_t>(seed); }

    const Signature &facts() const { return facts_; }
    double step_seconds() const { return step_seconds_; }

private:
    static constexpr int NO_PROMPT = -1;

    struct Copy {
        const Buffer *from;
        Buffer *to;
    };
    struct Stage {
        std::unique_ptr<Graph> graph;
        std::vector<Copy> copies;  // to where its outputs are inputs
    };

    void make_buffers();
    void read_states(const std::filesystem::path &path);
    void read_prompts(const std::filesystem::path &path);
    int number_of(const std::string &prompt) const;
    struct Asked {
        Buffer *embedding = nullptr, *mask = nullptr;  // none where the model has no such input
        std::atomic<int> number{NO_PROMPT};            // of the stored prompts
    };
    void find(const std::string &input, Asked &asked);
    void write(const Asked &asked);
    Stage open(const std::filesystem::path &folder, const GraphFacts &graph);
    void require_tensor(const char *name, size_t count);
    void begin(int32_t instrument);
    double warm_up();

    Signature facts_;
    std::unique_ptr<Runtime> runtime_;
    Buffers inputs_;   // by the input's name
    Buffers outputs_;  // by the output's name
    struct State {
        Buffer *input;
        std::vector<float> words;
        std::map<int32_t, std::vector<float>> of_instruments;  // where that is another one
    };

    std::map<std::string, State> states_;
    std::vector<float> prompts_, prompt_masks_;  // of all stored prompts, one after the other
    std::vector<Stage> stages_;
    std::atomic<int32_t> instrument_;
    std::atomic<uint64_t> seed_{0};
    Asked prompt_, negative_prompt_;
    int64_t steps_ = 0;
    double step_seconds_ = 0;
};

}  // namespace livejam
