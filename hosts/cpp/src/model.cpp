#include "model.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <set>
#include <tuple>
#include <utility>

#include "error.h"
#include "noise.h"
#include "safetensors.h"

namespace livejam {
namespace {

constexpr int WARM_UP_STEPS = 9;
constexpr float LOUDEST = 10;  // the graphs are exported for samples within ±10

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
    return text;
}

bool named(const InstrumentFacts &instrument, const std::string &name) {
    const auto same = [&](const std::string &other) { return lower(other) == lower(name); };
    return same(instrument.name) || std::any_of(instrument.aliases.begin(), instrument.aliases.end(), same);
}

int32_t index_in(const std::string &text, const std::filesystem::path &path) {
    try {
        return std::stoi(text);
    } catch (const std::exception &) {
        throw Error(path.string() + " is damaged (a state is of the instrument " + text + "); export the model again");
    }
}

}  // namespace

Model::Model(const std::filesystem::path &folder)
    : facts_(read_signature(folder)), instrument_(facts_.default_instrument) {
    for (const GraphFacts &graph : facts_.graphs) {
        require(std::filesystem::is_regular_file(folder / graph.file),
                (folder / graph.file).string() + " is missing; export the model again");
    }
    make_buffers();
    read_states(folder / "state0.safetensors");
    if (!facts_.prompts.empty()) read_prompts(folder / "prompts.safetensors");
    runtime_ = make_runtime();
    for (const GraphFacts &graph : facts_.graphs) stages_.push_back(open(folder, graph));
    try {
        step_seconds_ = warm_up();
    } catch (const Error &error) {
        throw Error(folder.string() + " cannot be played (" + error.what() + "); export the model again");
    }
}

void Model::make_buffers() {
    for (const GraphFacts &graph : facts_.graphs) {
        for (const TensorFacts &tensor : graph.inputs) {
            auto &words = inputs_[tensor.name].words;
            require(words.empty() || words.size() == tensor.count(),
                    "two graphs want different shapes of " + tensor.name);
            words.resize(tensor.count());
        }
        for (const TensorFacts &tensor : graph.outputs) {
            require(outputs_.emplace(tensor.name, Buffer{std::vector<float>(tensor.count())}).second,
                    "two graphs give " + tensor.name);
        }
    }
    const auto &noise = facts_.noise;
    const size_t block = static_cast<size_t>(facts_.audio_channels) * facts_.block_samples;
    require_tensor("mix", block);
    require_tensor("instrument", 1);
    require_tensor("noise", static_cast<size_t>(noise.draws) * noise.frames * noise.channels);
    const auto played = outputs_.find("accompaniment");
    require(played != outputs_.end() && played->second.words.size() == block,
            "no graph gives a block of accompaniment");
}

void Model::require_tensor(const char *name, size_t count) {
    const auto found = inputs_.find(name);
    require(found != inputs_.end() && found->second.words.size() == count,
            std::string("signature.json is damaged (the input ") + name +
                " is missing or of another shape); export the model again");
}

void Model::read_states(const std::filesystem::path &path) {
    require(std::filesystem::is_regular_file(path), path.string() + " is missing; export the model again");
    std::set<std::string> known{"mix", "instrument", "noise"};
    for (const auto &[stored, tensor] : read_safetensors(path)) {
        const size_t at = stored.find('@');
        const std::string name = stored.substr(0, at);
        const auto found = inputs_.find(name);
        require(found != inputs_.end() && 4 * found->second.words.size() == tensor.bytes.size(),
                path.string() + " does not fit signature.json in " + stored + "; export the model again");
        State &state = states_[name];
        state.input = &found->second;
        const bool general = at == std::string::npos;
        auto &words = general ? state.words : state.of_instruments[index_in(stored.substr(at + 1), path)];
        words.resize(tensor.bytes.size() / 4);
        std::memcpy(words.data(), tensor.bytes.data(), tensor.bytes.size());
        if (general) known.insert(name);
    }
    for (const GraphFacts &graph : facts_.graphs) {
        for (const TensorFacts &tensor : graph.inputs) {
            require(known.count(tensor.name) == 1,
                    path.string() + " has no " + tensor.name + "; export the model again");
        }
        for (const TensorFacts &tensor : graph.outputs) known.insert(tensor.feeds);
    }
}

void Model::read_prompts(const std::filesystem::path &path) {
    require(std::filesystem::is_regular_file(path), path.string() + " is missing; export the model again");
    const auto held = read_safetensors(path);
    for (auto &[stored, words] : {std::pair{"texts", &prompts_}, std::pair{"texts_mask", &prompt_masks_}}) {
        const auto tensor = held.find(stored);
        require(tensor != held.end(), path.string() + " has no " + stored + "; export the model again");
        words->resize(tensor->second.bytes.size() / 4);
        std::memcpy(words->data(), tensor->second.bytes.data(), 4 * words->size());
    }
    find("prompt", prompt_);
    if (facts_.negative_prompts) find("negative_prompt", negative_prompt_);
}

void Model::find(const std::string &input, Asked &asked) {
    for (auto &[name, stored, target] : {std::tuple{input, &prompts_, &asked.embedding},
                                         std::tuple{input + "_mask", &prompt_masks_, &asked.mask}}) {
        const auto found = inputs_.find(name);
        require(found != inputs_.end() && stored->size() == facts_.prompts.size() * found->second.words.size(),
                "the stored prompts do not fit " + name + " of signature.json; export the model again");
        *target = &found->second;
    }
}

Model::Stage Model::open(const std::filesystem::path &folder, const GraphFacts &graph) {
    Stage stage;
    for (const TensorFacts &tensor : graph.outputs) {
        if (tensor.feeds.empty()) continue;
        const auto target = inputs_.find(tensor.feeds);
        require(target != inputs_.end() && target->second.words.size() == tensor.count(),
                tensor.name + " feeds " + tensor.feeds + ", which does not fit; export the model again");
        stage.copies.push_back({&outputs_.at(tensor.name), &target->second});
    }
    try {
        stage.graph = runtime_->open(folder / graph.file, graph, inputs_, outputs_);
    } catch (const Error &error) {
        throw Error((folder / graph.file).string() + " is damaged (" + error.what() + "); export the model again");
    }
    return stage;
}

double Model::warm_up() {
    const std::vector<float> silence(static_cast<size_t>(facts_.audio_channels) * facts_.block_samples);
    std::vector<float> played(silence.size());
    std::vector<double> seconds;
    reset();
    for (int step_number = 0; step_number < WARM_UP_STEPS; ++step_number) {
        const auto started = std::chrono::steady_clock::now();
        step(silence.data(), played.data());
        seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count());
        require(steps_ > 0, "it gives numbers that are not finite");
    }
    reset();
    std::nth_element(seconds.begin(), seconds.begin() + WARM_UP_STEPS / 2, seconds.end());
    return seconds[WARM_UP_STEPS / 2];
}

void Model::begin(int32_t instrument) {
    for (const auto &[name, state] : states_) {
        const auto own = state.of_instruments.find(instrument);
        const auto &words = own == state.of_instruments.end() ? state.words : own->second;
        std::copy(words.begin(), words.end(), state.input->words.begin());
    }
}

// Zeros are no prompt: then it plays the instrument's own, or is led away from none.
void Model::write(const Asked &asked) {
    if (asked.embedding == nullptr) return;
    const int number = asked.number;
    for (const auto &[words, input] : {std::pair{&prompts_, asked.embedding}, std::pair{&prompt_masks_, asked.mask}}) {
        const auto size = static_cast<int64_t>(input->words.size());
        if (number == NO_PROMPT) std::fill(input->words.begin(), input->words.end(), 0.0f);
        else std::copy_n(words->begin() + number * size, size, input->words.begin());
    }
}

void Model::step(const float *mix, float *accompaniment) {
    auto &heard = inputs_.at("mix").words;
    const auto within = [](float x) { return std::isfinite(x) ? std::clamp(x, -LOUDEST, LOUDEST) : 0.0f; };
    std::transform(mix, mix + heard.size(), heard.begin(), within);
    const int32_t instrument = instrument_;
    if (steps_ == 0) begin(instrument);
    write(prompt_);
    write(negative_prompt_);
    std::memcpy(inputs_.at("instrument").floats(), &instrument, sizeof instrument);
    noise_of_step(facts_.noise, seed_, steps_++, inputs_.at("noise").floats());
    for (Stage &stage : stages_) {
        stage.graph->run();
        for (const auto &[from, to] : stage.copies) {
            std::copy(from->words.begin(), from->words.end(), to->words.begin());
        }
    }
    const auto &played = outputs_.at("accompaniment").words;
    if (std::all_of(played.begin(), played.end(), [](float x) { return std::isfinite(x); })) {
        std::copy(played.begin(), played.end(), accompaniment);
    } else {
        std::fill_n(accompaniment, played.size(), 0.0f);
        reset();
    }
}

void Model::set_instrument(const std::string &name) {
    std::string names;
    for (const InstrumentFacts &instrument : facts_.instruments) {
        if (named(instrument, name)) {
            instrument_ = instrument.index;
            return;
        }
        names += (names.empty() ? "" : ", ") + instrument.name;
    }
    throw Error("the model never learnt to play " + name + "; it learnt " + names);
}

int Model::number_of(const std::string &prompt) const {
    const auto &texts = facts_.prompts;
    const auto same = [&](const std::string &other) { return lower(other) == lower(prompt); };
    const auto found = std::find_if(texts.begin(), texts.end(), same);
    require(!texts.empty() || prompt.empty(), "this model takes no words; leave the prompt out");
    std::string names;
    for (const std::string &one : texts) names += (names.empty() ? "" : ", ") + one;
    require(found != texts.end() || prompt.empty(),
            "the prompt " + prompt + " was not exported (`livejam export --prompt`); there are " + names);
    return prompt.empty() ? NO_PROMPT : static_cast<int>(found - texts.begin());
}

void Model::set_prompt(const std::string &text) { prompt_.number = number_of(text); }

void Model::set_negative_prompt(const std::string &text) {
    const int number = number_of(text);
    require(facts_.negative_prompts || text.empty(),
            "this model was exported without guidance of the prompt, so it cannot lead away from words; export it with "
            "`livejam export --guidance prompt=3`");
    negative_prompt_.number = number;
}

bool Model::set_prompt(int number) {
    if (number < NO_PROMPT || number >= static_cast<int>(facts_.prompts.size())) return false;
    prompt_.number = number;
    return true;
}

bool Model::set_negative_prompt(int number) {
    const int known = facts_.negative_prompts ? static_cast<int>(facts_.prompts.size()) : 0;
    if (number < NO_PROMPT || number >= known) return false;
    negative_prompt_.number = number;
    return true;
}

bool Model::set_instrument(int number) {
    if (number < 0 || number >= static_cast<int>(facts_.instruments.size())) return false;
    instrument_ = facts_.instruments[number].index;
    return true;
}

}  // namespace livejam
