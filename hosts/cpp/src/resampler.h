// A stream at one rate to a stream at another, as livejam/streaming/resampling.py does it.
#pragma once

#include <cstdint>
#include <vector>

namespace livejam {

// Output m is the sound at the time m / output_hz: no delay is added to the sound, it only comes late, because an
// output needs `half_width` inputs after it.
class Resampler {
public:
    // `most`: inputs of one call of `step`.
    Resampler(int input_hz, int output_hz, int64_t most);

    // Outputs that are known after so many inputs, and inputs after which so many outputs are known.
    int64_t made(int64_t heard) const;
    int64_t needed(int64_t made) const;

    // The most outputs of one call of `step`.
    int64_t largest() const { return most_ * up_ / down_ + 2; }

    // The outputs that become known by the next inputs; returns how many. Nothing is allocated.
    int64_t step(const float *inputs, int64_t count, float *outputs);

    void reset();

private:
    int64_t up_, down_, half_width_, most_;
    std::vector<float> bank_;   // the taps of every phase
    std::vector<float> known_;  // the last inputs, from number `start_` on
    int64_t start_ = 0, heard_ = 0, made_ = 0;
};

}  // namespace livejam
