#include "delay.h"

#include <algorithm>
#include <cmath>

#include "error.h"

namespace livejam {
namespace {

constexpr double GLIDE_SECONDS = 0.05;
constexpr float KNEE = 0.5f;

static_assert(std::atomic<double>::is_always_lock_free);

// As on tape: samples beyond KNEE bend towards 1, smoothly, so that feedback cannot run away.
float saturated(float sample) {
    const float beyond = (std::abs(sample) - KNEE) / (1 - KNEE);
    return beyond > 0 ? std::copysign(KNEE + (1 - KNEE) * std::tanh(beyond), sample) : sample;
}

}  // namespace

Delay::Delay(int rate_hz, int channels, int64_t most) : step_(1 / (GLIDE_SECONDS * rate_hz)), channels_(channels) {
    for (auto &gain : gliding_) gain.resize(static_cast<size_t>(most));
    for (int channel = 0; channel < channels; ++channel) heard_.emplace_back(static_cast<size_t>(most));
    for (const auto &channel : heard_) heard_pointers_.push_back(channel.data());
}

void Delay::check(double dry, double wet, double feedback) {
    const auto within = [](double gain) { return 0 <= gain && gain <= 1; };  // false for NaN
    require(within(dry) && within(wet), "the gains dry and wet of a delay go from 0 to 1");
    require(within(feedback) && feedback < 1, "the feedback of a delay goes from 0 to less than 1");
}

void Delay::set(double dry, double wet, double feedback) {
    goals_[DRY] = dry;
    goals_[WET] = wet;
    goals_[FEEDBACK] = feedback;
}

void Delay::mix(const float *const *in, float *const *answer, int64_t n) {
    for (int gain = 0; gain < GAINS; ++gain) {
        const double goal = goals_[gain], step = begun_ ? step_ : 1;
        for (int64_t i = 0; i < n; ++i) {
            gains_[gain] += std::clamp(goal - gains_[gain], -step, step);
            gliding_[gain][i] = static_cast<float>(gains_[gain]);
        }
    }
    begun_ = true;
    for (int channel = 0; channel < channels_; ++channel) {
        for (int64_t i = 0; i < n; ++i) {
            const float dry = in[channel][i], wet = saturated(answer[channel][i]);
            heard_[channel][i] = dry + gliding_[FEEDBACK][i] * wet;
            answer[channel][i] = gliding_[DRY][i] * (std::isfinite(dry) ? dry : 0.0f) + gliding_[WET][i] * wet;
        }
    }
}

}  // namespace livejam
