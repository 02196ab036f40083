// Gaussian noise that is a pure function of a seed and a position: SplitMix64 in counter mode and the Box-Muller
// transform, as docs/export.md writes them out.
#pragma once

#include <cstdint>

#include "signature.h"

namespace livejam {

// `channels` numbers of a position.
void noise_at(uint64_t seed, int64_t position, int64_t channels, float *noise);

// The input `noise` of a step, of shape (draws, frames, channels).
void noise_of_step(const NoiseFacts &facts, uint64_t seed, int64_t step, float *noise);

}  // namespace livejam
