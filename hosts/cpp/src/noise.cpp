#include "noise.h"

#include <cmath>

namespace livejam {
namespace {

constexpr uint64_t STEP = 0x9E3779B97F4A7C15;
constexpr double TWO_PI = 6.283185307179586;

uint64_t scramble(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
    return x ^ (x >> 31);
}

}  // namespace

void noise_at(uint64_t seed, int64_t position, int64_t channels, float *noise) {
    const int64_t pairs = (channels + 1) / 2;
    const uint64_t base = scramble(seed * STEP + 1);
    for (int64_t p = 0; p < pairs; ++p) {
        const uint64_t counter = static_cast<uint64_t>(position) * static_cast<uint64_t>(pairs) + p + 1;
        const uint64_t bits = scramble(base + counter * STEP);
        // rounded to float, as PyTorch does: near 1, the radius would show the difference
        const float first = (static_cast<float>(bits >> 40) + 0.5f) / (1 << 24);
        const double angle = TWO_PI * (static_cast<double>((bits >> 8) & 0xFFFFFF) / (1 << 24));
        const double radius = std::sqrt(-2 * std::log(static_cast<double>(first)));
        noise[p] = static_cast<float>(radius * std::cos(angle));
        if (pairs + p < channels) noise[pairs + p] = static_cast<float>(radius * std::sin(angle));
    }
}

void noise_of_step(const NoiseFacts &facts, uint64_t seed, int64_t step, float *noise) {
    // unsigned, because signed integers may not wrap around
    const uint64_t first = static_cast<uint64_t>(facts.first_position) +
                           static_cast<uint64_t>(step) * static_cast<uint64_t>(facts.positions_per_step);
    for (int64_t draw = 0; draw < facts.draws; ++draw) {
        for (int64_t frame = 0; frame < facts.frames; ++frame, noise += facts.channels) {
            const uint64_t position = first + frame + static_cast<uint64_t>(draw) * facts.draw_stride;
            noise_at(seed, static_cast<int64_t>(position), facts.channels, noise);
        }
    }
}

}  // namespace livejam
