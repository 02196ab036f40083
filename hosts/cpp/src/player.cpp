#include "player.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <system_error>

#include "error.h"

namespace livejam {
namespace {

constexpr int64_t PIECE = 1024;             // samples that are passed on at once
constexpr double LONGEST_LATENCY = 4;       // seconds
constexpr double LONGEST_STALL = 4;         // seconds; the model begins anew after a longer one
constexpr double FADE_SECONDS = 0.005;
constexpr int STEPS_LOOKED_AT = 1000;       // the lead repeats after fewer, at all usual rates
constexpr float LOUDEST = 10;
constexpr auto POLL = std::chrono::microseconds(500);

static_assert(std::atomic<float>::is_always_lock_free && std::atomic<int64_t>::is_always_lock_free);

int64_t positions(double seconds, int rate) { return static_cast<int64_t>(std::ceil(seconds * rate)); }

}  // namespace

Player::Player(const std::filesystem::path &folder, int rate_hz)
    : model_(folder), rate_(rate_hz == 0 ? model_.facts().sample_rate_hz : rate_hz) {
    const Signature &facts = model_.facts();
    const int64_t block = facts.block_samples, longest = std::max<int64_t>(block, facts.first_output_sample);
    channels_ = facts.audio_channels;
    for (int channel = 0; channel < channels_; ++channel) {
        to_model_.emplace_back(rate_, facts.sample_rate_hz, PIECE);
        from_model_.emplace_back(facts.sample_rate_hz, rate_, longest);
        heard_.emplace_back(2 * positions(LONGEST_STALL, rate_) + PIECE);
        known_.emplace_back(positions(LONGEST_LATENCY, rate_) + 2 * PIECE + 3 * from_model_[0].largest());
    }
    last_.resize(channels_);
    answer_.assign(channels_, std::vector<float>(PIECE));
    piece_in_.resize(PIECE);
    model_in_.resize(channels_ * to_model_[0].largest());
    block_.resize(channels_ * block);
    played_.resize(channels_ * longest);
    host_out_.resize(from_model_[0].largest());
    gain_step_ = static_cast<float>(1 / (FADE_SECONDS * rate_));
    decay_ = std::exp(-4 * gain_step_);
    lead_ = lead_of();
    latency_ = std::max(0, -lead_);
    begin(0);
}

Player::~Player() {
    ended_ = true;
    if (thread_.joinable()) thread_.join();
}

int Player::lead_of() const {
    const Signature &facts = model_.facts();
    int64_t lead = INT32_MAX;
    for (int64_t steps = 0; steps < STEPS_LOOKED_AT; ++steps) {
        const int64_t heard = to_model_[0].needed((steps + 1) * facts.block_samples) - 1;
        const int64_t known = from_model_[0].made(steps * facts.block_samples + facts.first_output_sample);
        lead = std::min(lead, known - heard);
    }
    return static_cast<int>(lead);
}

void Player::start(int largest, int latency) {
    require(!thread_.joinable(), "it already computes in a thread of its own");
    const int least = least_latency();
    if (latency < 0) {
        const double wanted = largest + 2 * model_.step_seconds() * rate_ - lead_;
        latency = std::max(least, static_cast<int>(std::ceil(std::min(wanted, LONGEST_LATENCY * rate_))));
    }
    require(least <= latency && latency <= LONGEST_LATENCY * rate_,
            "a latency of " + std::to_string(latency) + " samples is not possible; choose one from " +
                std::to_string(least) + " to " + std::to_string(static_cast<int>(LONGEST_LATENCY * rate_)));
    latency_ = latency;
    try {
        thread_ = std::thread(&Player::run, this);
    } catch (const std::system_error &error) {
        throw Error(std::string("no thread can be started (") + error.what() + ")");
    }
}

// A delay must know an answer before it hears the sample that it sounds with.
int Player::least_latency() const { return std::max(0, -lead_) + (delay_ ? 1 : 0); }

void Player::set_delay(double dry, double wet, double feedback) {
    require(model_.facts().anticipation_frames < 0,
            "this model plays ahead of what it hears; export an LMDM with `--cutoff 1` for a delay");
    Delay::check(dry, wet, feedback);
    if (!delay_) {
        require(!thread_.joinable() && heard_until_ == 0, "a delay must be one before it begins");
        delay_ = std::make_unique<Delay>(rate_, channels_, PIECE);
        latency_ = least_latency();
    }
    delay_->set(dry, wet, feedback);
}

// ---- audio thread: no memory is allocated, nothing is locked, nothing throws ----

void Player::process(const float *const *in, float *const *out, int n) {
    const float *from[2];
    float *to[2];
    for (int64_t done = 0; done < n;) {
        for (int channel = 0; channel < channels_; ++channel) {
            from[channel] = in[channel] + done;
            to[channel] = out[channel] + done;
        }
        const int64_t piece = std::min(PIECE, n - done);
        begin_if_asked();
        done += delay_ ? process_delay(from, to, piece) : process_piece(from, to, piece);
    }
}

void Player::begin_if_asked() {
    if (const uint64_t resets = resets_; resets != resets_heard_) {
        resets_heard_ = resets;
        begin_at_.store(heard_until_, std::memory_order_relaxed);  // seen with what is heard next
    }
}

int64_t Player::process_piece(const float *const *in, float *const *out, int64_t n) {
    hear(in, n);
    catch_up();
    play(out, heard_until_ - n - latency_, n);
    return n;
}

// What sounds is known before what is heard, because the model hears it as well. Where nothing may be missed, a piece
// ends with what is known.
int64_t Player::process_delay(const float *const *in, float *const *out, int64_t n) {
    catch_up();
    const int64_t position = heard_until_ - latency_;
    if ((!thread_.joinable() || wait) && !failed_) n = std::clamp<int64_t>(known_until_ - position, 1, n);
    float *answer[2];
    for (int channel = 0; channel < channels_; ++channel) answer[channel] = answer_[channel].data();
    play(answer, position, n);
    delay_->mix(in, answer, n);
    for (int channel = 0; channel < channels_; ++channel) std::copy_n(answer[channel], n, out[channel]);
    hear(delay_->heard(), n);
    return n;
}

// Without a thread, compute here; with one that is waited for, wait.
void Player::catch_up() {
    if (!thread_.joinable()) {
        while (advance()) {
        }
    } else if (wait) {
        await();
    }
}

void Player::hear(const float *const *in, int64_t n) {
    const int64_t position = heard_until_;
    uint64_t bad = 0;
    for (int channel = 0; channel < channels_; ++channel) {
        for (int64_t i = 0; i < n; ++i) {
            const float sample = in[channel][i];
            const bool finite = std::isfinite(sample);
            bad += !finite;
            heard_[channel].write(position + i, finite ? std::clamp(sample, -LOUDEST, LOUDEST) : 0.0f);
        }
    }
    if (bad > 0) damaged += bad;
    heard_until_.store(position + n, std::memory_order_release);
}

void Player::await() {
    while (read_until_.load(std::memory_order_acquire) < heard_until_ && !failed_) {
        std::this_thread::sleep_for(POLL / 5);
    }
}

void Player::play(float *const *out, int64_t position, int64_t n) {
    const int64_t known = failed_ ? position : known_until_.load(std::memory_order_acquire);
    uint64_t late = 0;
    for (int64_t i = 0; i < n; ++i) {
        const bool ready = position + i < known;
        late += !ready;
        gain_ = ready ? std::min(1.0f, gain_ + gain_step_) : 0.0f;
        for (int channel = 0; channel < channels_; ++channel) {
            float &last = last_[channel];
            last = !ready ? decay_ * last : position + i < 0 ? 0.0f : gain_ * known_[channel].read(position + i);
            out[channel][i] = last;
        }
    }
    if (late > 0) missed += late;
}

// ---- computing thread ----

void Player::run() {
    while (!ended_) {
        if (!advance()) std::this_thread::sleep_for(POLL);
    }
}

bool Player::advance() {
    const int64_t until = heard_until_.load(std::memory_order_acquire);
    const int64_t begin_position = begin_at_.load(std::memory_order_relaxed);
    if (failed_) return false;
    if (begin_position != begin_seen_) {
        begin_seen_ = begin_position;
        begin(begin_position);
    }
    if (until - read_ > positions(LONGEST_STALL, rate_)) {
        restarts += 1;
        begin(until);
    }
    if (until == read_) return false;
    hear_some(std::min(until, read_ + PIECE));
    return true;
}

void Player::begin(int64_t position) {
    model_.reset();
    for (Resampler &resampler : to_model_) resampler.reset();
    for (Resampler &resampler : from_model_) resampler.reset();
    read_ = written_ = position;
    filled_ = 0;
    std::fill(played_.begin(), played_.end(), 0.0f);
    const int64_t first = model_.facts().first_output_sample, silence = std::max<int64_t>(0, first);
    unheard_ = std::max<int64_t>(0, -first);
    for (int64_t i = std::max(known_until_.load(), position - known_[0].size()); i < position; ++i) {
        for (Ring &channel : known_) channel.write(i, 0.0f);  // what nobody answered
    }
    say(played_.data(), silence, silence);
    read_until_.store(read_, std::memory_order_release);
}

void Player::hear_some(int64_t until) {
    const int64_t block = model_.facts().block_samples, stride = to_model_[0].largest();
    int64_t made = 0;
    for (int channel = 0; channel < channels_; ++channel) {
        for (int64_t i = read_; i < until; ++i) piece_in_[i - read_] = heard_[channel].read(i);
        made = to_model_[channel].step(piece_in_.data(), until - read_, &model_in_[channel * stride]);
    }
    read_ = until;
    for (int64_t done = 0; done < made && !failed_;) {
        const int64_t count = std::min(made - done, block - filled_);
        for (int channel = 0; channel < channels_; ++channel) {
            std::copy_n(&model_in_[channel * stride + done], count, &block_[channel * block + filled_]);
        }
        done += count;
        filled_ += count;
        if (filled_ == block) step();
    }
    read_until_.store(read_, std::memory_order_release);
}

void Player::step() {
    filled_ = 0;
    try {
        model_.step(block_.data(), played_.data());
        const int64_t block = model_.facts().block_samples, skipped = std::min(block, unheard_);
        unheard_ -= skipped;
        say(played_.data() + skipped, block - skipped, block);
    } catch (const std::exception &error) {
        failure_ = error.what();
        failed_ = true;
    }
}

// `count` samples of each channel; the first ones of two channels are `stride` samples apart.
void Player::say(const float *sound, int64_t count, int64_t stride) {
    int64_t made = 0;
    for (int channel = 0; channel < channels_; ++channel) {
        made = from_model_[channel].step(sound + channel * stride, count, host_out_.data());
        for (int64_t i = 0; i < made; ++i) known_[channel].write(written_ + i, host_out_[i]);
    }
    written_ += made;
    known_until_.store(std::max<int64_t>(known_until_, written_), std::memory_order_release);
}

}  // namespace livejam
