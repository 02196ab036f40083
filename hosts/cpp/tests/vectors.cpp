// How far what is played is from the test vectors, in JSON: at once, in pieces of all sizes, and in a thread.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "livejam.h"
#include "noise.h"
#include "safetensors.h"

namespace {

using livejam::StoredTensor;

std::vector<float> floats(const StoredTensor &tensor) {
    std::vector<float> numbers(tensor.bytes.size() / 4);
    std::memcpy(numbers.data(), tensor.bytes.data(), tensor.bytes.size());
    return numbers;
}

double farthest(const std::vector<float> &a, const std::vector<float> &b) {
    double largest = a.size() == b.size() ? 0 : INFINITY;
    for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
        largest = std::max<double>(largest, std::fabs(a[i] - b[i]));
    }
    return largest;
}

// What is played to `mix` (channel after channel) from `first_output` on, in time with the mix.
std::vector<float> play(livejam_player *player, std::vector<float> mix, int channels, int most, unsigned seed) {
    std::mt19937 random(seed);
    const int samples = static_cast<int>(mix.size()) / channels, late = livejam_latency(player);
    const int first = livejam_first_output(player), total = samples + late + first;
    std::vector<float> sound(static_cast<size_t>(channels) * total);
    for (int c = 0; c < channels; ++c) std::copy_n(&mix[c * samples], samples, &sound[c * total]);
    for (int done = 0; done < total;) {
        const int n = std::min<int>(total - done, most == 0 ? total : 1 + random() % most);
        std::vector<float *> pointers;
        for (int c = 0; c < channels; ++c) pointers.push_back(&sound[c * total + done]);
        livejam_process(player, pointers.data(), pointers.data(), n);
        done += n;
    }
    std::vector<float> played;
    for (int c = 0; c < channels; ++c) {
        const auto begin = sound.begin() + c * total;
        const int silence = std::max(0, first);
        if (std::any_of(begin + late, begin + silence + late, [](float x) { return x != 0; })) return {};
        played.insert(played.end(), begin + silence + late, begin + total);
    }
    return played;
}

// Without the first samples of every channel.
std::vector<float> without(const std::vector<float> &sound, int channels, int count) {
    std::vector<float> rest;
    const auto samples = static_cast<int>(sound.size()) / channels;
    for (int c = 0; c < channels; ++c) {
        rest.insert(rest.end(), &sound[c * samples] + count, &sound[c * samples] + samples);
    }
    return rest;
}

}  // namespace

int main(int, char **words) {
    const std::string folder = words[1];
    char error[1024];
    livejam_player *player = livejam_load(folder.c_str(), 0, error, sizeof error);
    if (player == nullptr) {
        std::fprintf(stderr, "error: %s\n", error);
        return 1;
    }
    const auto facts = livejam::read_signature(folder);
    const auto vectors = livejam::read_safetensors(folder + "/test_vectors.safetensors");
    int64_t seed;
    int32_t instrument;
    std::memcpy(&seed, vectors.at("seed").bytes.data(), sizeof seed);
    std::memcpy(&instrument, vectors.at("instrument").bytes.data(), sizeof instrument);

    const auto noise = floats(vectors.at("noise"));
    std::vector<float> drawn(noise.size());
    const size_t per_step = static_cast<size_t>(facts.noise.draws * facts.noise.frames * facts.noise.channels);
    for (size_t step = 0; step * per_step < noise.size(); ++step) {
        const auto number = static_cast<int64_t>(step);
        livejam::noise_of_step(facts.noise, static_cast<uint64_t>(seed), number, &drawn[step * per_step]);
    }

    for (size_t number = 0; number < facts.instruments.size(); ++number) {
        if (facts.instruments[number].index != instrument) continue;
        livejam_set_instrument_number(player, static_cast<int>(number));
    }
    livejam_set_seed(player, seed);
    const int channels = livejam_channels(player), before = std::max(0, -livejam_first_output(player));
    const auto mix = floats(vectors.at("mix"));
    const auto wanted = without(floats(vectors.at("accompaniment")), channels, before);  // what lies in the mix
    std::printf("{\"noise\": %g, ", farthest(drawn, noise));
    std::printf("\"whole\": %g, ", farthest(play(player, mix, channels, 0, 0), wanted));
    livejam_reset(player);
    std::printf("\"pieces\": %g, ", farthest(play(player, mix, channels, 5000, 1), wanted));
    livejam_reset(player);
    livejam_wait(player, 1);
    livejam_start(player, 700, livejam_latency(player) + 999);
    std::printf("\"thread\": %g, ", farthest(play(player, mix, channels, 700, 2), wanted));
    std::printf("\"missed\": %llu}\n", static_cast<unsigned long long>(livejam_missed(player)));
    livejam_free(player);
    return 0;
}
