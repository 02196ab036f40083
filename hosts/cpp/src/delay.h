// The generative delay: what goes in, and what a model answered to it, each at a gain that glides. It computes what
// livejam/streaming/delay.py computes.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

namespace livejam {

class Delay {
public:
    // `most`: samples of one call of `mix`. The gains are 1, 1 and 0.
    Delay(int rate_hz, int channels, int64_t most);

    // dry and wet: 0 to 1; feedback: 0 to less than 1. Throws Error.
    static void check(double dry, double wet, double feedback);

    // To where the gains glide from now on; while nothing was mixed, they are there at once. Any thread.
    void set(double dry, double wet, double feedback);

    // Channel after channel: `answer` (as the model played it) becomes what sounds, and `heard()` what the model hears.
    void mix(const float *const *in, float *const *answer, int64_t n);
    const float *const *heard() const { return heard_pointers_.data(); }

private:
    enum Gain { DRY, WET, FEEDBACK, GAINS };

    std::array<std::atomic<double>, GAINS> goals_{1, 1, 0};
    std::array<double, GAINS> gains_{1, 1, 0};
    std::array<std::vector<float>, GAINS> gliding_;  // the gains of a call, sample by sample
    bool begun_ = false;
    double step_;
    int channels_;
    std::vector<std::vector<float>> heard_;
    std::vector<const float *> heard_pointers_;
};

}  // namespace livejam
