// A model in a stream of samples at any rate: what the C interface offers.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "delay.h"
#include "model.h"
#include "resampler.h"
#include "ring.h"

namespace livejam {

// The audio thread writes what it hears into a ring and reads what is due from another one, both by position. The
// computing thread (or, without one, `process` itself) follows it. Positions never move: what is late is not played.
class Player {
public:
    Player(const std::filesystem::path &folder, int rate_hz);
    ~Player();

    void process(const float *const *in, float *const *out, int n);
    void start(int largest, int latency);  // throws Error
    void reset() { resets_ += 1; }
    void set_delay(double dry, double wet, double feedback);  // throws Error

    Model &model() { return model_; }
    const Model &model() const { return model_; }
    int rate() const { return rate_; }
    int lead() const { return lead_; }
    int latency() const { return latency_; }

    std::atomic<bool> wait{false};
    std::atomic<uint64_t> missed{0}, damaged{0}, restarts{0};

    const char *failure() const { return failed_ ? failure_.c_str() : nullptr; }

private:
    // audio thread
    int64_t process_piece(const float *const *in, float *const *out, int64_t n);
    int64_t process_delay(const float *const *in, float *const *out, int64_t n);
    void begin_if_asked();
    void catch_up();
    void hear(const float *const *in, int64_t n);
    void await();
    void play(float *const *out, int64_t position, int64_t n);

    // computing thread
    void run();
    bool advance();
    void begin(int64_t position);
    void hear_some(int64_t until);
    void step();
    void say(const float *sound, int64_t count, int64_t stride);

    int lead_of() const;
    int least_latency() const;

    Model model_;
    int rate_, channels_, lead_, latency_;
    std::vector<Ring> heard_, known_;         // by channel
    std::atomic<int64_t> heard_until_{0};     // written by the audio thread
    std::atomic<int64_t> begin_at_{0};        // where the last reset was
    std::atomic<int64_t> known_until_{0};     // written by the computing thread
    std::atomic<int64_t> read_until_{0};
    std::atomic<uint64_t> resets_{0};
    std::atomic<bool> failed_{false}, ended_{false};
    std::string failure_;

    // audio thread
    std::unique_ptr<Delay> delay_;
    std::vector<std::vector<float>> answer_;  // of a piece, by channel
    std::vector<float> last_;
    float gain_ = 1, gain_step_, decay_;
    uint64_t resets_heard_ = 0;

    // computing thread
    std::vector<Resampler> to_model_, from_model_;
    std::vector<float> piece_in_, model_in_, block_, played_, host_out_;  // all but the first and last by channel
    int64_t begin_seen_ = 0, read_ = 0, written_ = 0, filled_ = 0;
    int64_t unheard_ = 0;  // samples of the model that would lie before the mix
    std::thread thread_;
};

}  // namespace livejam
