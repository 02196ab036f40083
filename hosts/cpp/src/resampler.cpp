#include "resampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "error.h"

namespace livejam {
namespace {

constexpr double PI = 3.141592653589793;
constexpr int LOBES = 32;           // zero crossings of the sinc on each side, at the lower of the two rates
constexpr double PASSBAND = 0.92;   // share of the lower Nyquist frequency that passes
constexpr double KAISER_BETA = 9.0;
constexpr int LOWEST_HZ = 4000, HIGHEST_HZ = 400000;

// The modified Bessel function of order 0, by its series; std::cyl_bessel_i is not everywhere.
double bessel_i0(double x) {
    double sum = 1, term = 1;
    for (int k = 1; term > 1e-17 * sum; ++k) {
        term *= (x / (2 * k)) * (x / (2 * k));
        sum += term;
    }
    return sum;
}

double tap(double distance, double cutoff, double width) {
    const double inside = std::max(0.0, 1 - distance * distance / (width * width));
    const double angle = PI * cutoff * distance;
    return (angle == 0 ? 1 : std::sin(angle) / angle) * bessel_i0(KAISER_BETA * std::sqrt(inside));
}

std::vector<float> taps_of(int64_t up, int64_t down, int64_t width) {
    if (width == 0) return {1.0f};
    const double cutoff = PASSBAND * std::min(1.0, static_cast<double>(up) / static_cast<double>(down));
    std::vector<float> bank;
    std::vector<double> taps(static_cast<size_t>(2 * width));
    for (int64_t phase = 0; phase < up; ++phase) {
        for (int64_t k = 0; k < 2 * width; ++k) {
            const double between = static_cast<double>(phase) / static_cast<double>(up);
            const double distance = static_cast<double>(1 - width + k) - between;
            taps[static_cast<size_t>(k)] = tap(distance, cutoff, static_cast<double>(width));
        }
        const double sum = std::accumulate(taps.begin(), taps.end(), 0.0);
        for (const double one : taps) bank.push_back(static_cast<float>(one / sum));
    }
    return bank;
}

int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b > 0); }

}  // namespace

Resampler::Resampler(int input_hz, int output_hz, int64_t most) : most_(most) {
    for (const int rate : {input_hz, output_hz}) {
        require(LOWEST_HZ <= rate && rate <= HIGHEST_HZ, "a sample rate of " + std::to_string(rate) +
                                                             " Hz cannot be played; use one from 4000 to 400000 Hz");
    }
    const int64_t common = std::gcd(input_hz, output_hz);
    up_ = output_hz / common;
    down_ = input_hz / common;
    const double wider = std::max(1.0, static_cast<double>(down_) / static_cast<double>(up_));
    half_width_ = input_hz == output_hz ? 0 : static_cast<int64_t>(std::ceil(LOBES * wider));
    bank_ = taps_of(up_, down_, half_width_);
    known_.reserve(static_cast<size_t>(2 * half_width_ + down_ + 2 + most));
    reset();
}

int64_t Resampler::made(int64_t heard) const {
    return std::max<int64_t>(0, ceil_div((heard - half_width_) * up_, down_));
}

int64_t Resampler::needed(int64_t made) const { return made <= 0 ? 0 : (made - 1) * down_ / up_ + half_width_ + 1; }

void Resampler::reset() {
    known_.assign(static_cast<size_t>(half_width_), 0.0f);
    start_ = -half_width_;
    heard_ = made_ = 0;
}

int64_t Resampler::step(const float *inputs, int64_t count, float *outputs) {
    heard_ += count;
    if (half_width_ == 0) {
        std::copy_n(inputs, count, outputs);
        return count;
    }
    known_.insert(known_.end(), inputs, inputs + count);
    const int64_t first = made_, width = 2 * half_width_;
    for (made_ = first; made_ < made(heard_); ++made_) {
        const float *sound = known_.data() + made_ * down_ / up_ + 1 - half_width_ - start_;
        const float *taps = bank_.data() + made_ * down_ % up_ * width;
        *outputs++ = std::inner_product(sound, sound + width, taps, 0.0f);
    }
    const int64_t start = std::max(start_, made_ * down_ / up_ + 1 - half_width_);
    known_.erase(known_.begin(), known_.begin() + (start - start_));
    start_ = start;
    return made_ - first;
}

}  // namespace livejam
