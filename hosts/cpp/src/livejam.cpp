#include "livejam.h"

#include <cstring>

#include "error.h"
#include "player.h"

struct livejam_player : livejam::Player {
    using Player::Player;
};

namespace {

void tell(const char *message, char *error, size_t size) {
    if (error == nullptr || size == 0) return;
    std::strncpy(error, message, size - 1);
    error[size - 1] = '\0';
}

}  // namespace

livejam_player *livejam_load(const char *folder, int rate_hz, char *error, size_t error_size) {
    try {
        livejam::require(folder != nullptr, "name a folder that `livejam export` wrote");
        return new livejam_player(folder, rate_hz);
    } catch (const std::exception &trouble) {
        tell(trouble.what(), error, error_size);
        return nullptr;
    }
}

void livejam_free(livejam_player *player) { delete player; }

int livejam_model_rate(const livejam_player *player) { return player->model().facts().sample_rate_hz; }
int livejam_rate(const livejam_player *player) { return player->rate(); }
int livejam_channels(const livejam_player *player) { return player->model().facts().audio_channels; }
int livejam_block(const livejam_player *player) { return player->model().facts().block_samples; }
int livejam_first_output(const livejam_player *player) { return player->model().facts().first_output_sample; }
int livejam_instruments(const livejam_player *player) {
    return static_cast<int>(player->model().facts().instruments.size());
}

const char *livejam_instrument(const livejam_player *player, int number) {
    const bool known = 0 <= number && number < livejam_instruments(player);
    return known ? player->model().facts().instruments[number].name.c_str() : nullptr;
}

int livejam_lead(const livejam_player *player) { return player->lead(); }
double livejam_step_seconds(const livejam_player *player) { return player->model().step_seconds(); }

int livejam_set_instrument(livejam_player *player, const char *name, char *error, size_t error_size) {
    try {
        player->model().set_instrument(name == nullptr ? "" : name);
        return 0;
    } catch (const std::exception &trouble) {
        tell(trouble.what(), error, error_size);
        return -1;
    }
}

int livejam_set_instrument_number(livejam_player *player, int number) {
    return player->model().set_instrument(number) ? 0 : -1;
}

int livejam_set_prompt(livejam_player *player, const char *text, char *error, size_t error_size) {
    try {
        player->model().set_prompt(text == nullptr ? "" : text);
        return 0;
    } catch (const std::exception &trouble) {
        tell(trouble.what(), error, error_size);
        return -1;
    }
}

int livejam_set_negative_prompt(livejam_player *player, const char *text, char *error, size_t error_size) {
    try {
        player->model().set_negative_prompt(text == nullptr ? "" : text);
        return 0;
    } catch (const std::exception &trouble) {
        tell(trouble.what(), error, error_size);
        return -1;
    }
}

int livejam_prompts(const livejam_player *player) {
    return static_cast<int>(player->model().facts().prompts.size());
}

const char *livejam_prompt(const livejam_player *player, int number) {
    const bool known = 0 <= number && number < livejam_prompts(player);
    return known ? player->model().facts().prompts[number].c_str() : nullptr;
}

int livejam_negative_prompts(const livejam_player *player) {
    return player->model().facts().negative_prompts ? livejam_prompts(player) : 0;
}

int livejam_set_prompt_number(livejam_player *player, int number) {
    return player->model().set_prompt(number) ? 0 : -1;
}

int livejam_set_negative_prompt_number(livejam_player *player, int number) {
    return player->model().set_negative_prompt(number) ? 0 : -1;
}

void livejam_set_seed(livejam_player *player, int64_t seed) { player->model().set_seed(seed); }
void livejam_reset(livejam_player *player) { player->reset(); }

int livejam_set_delay(livejam_player *player, double dry, double wet, double feedback, char *error, size_t error_size) {
    try {
        player->set_delay(dry, wet, feedback);
        return 0;
    } catch (const std::exception &trouble) {
        tell(trouble.what(), error, error_size);
        return -1;
    }
}

int livejam_start(livejam_player *player, int largest, int latency) {
    try {
        player->start(largest, latency);
        return 0;
    } catch (const std::exception &) {
        return -1;
    }
}

void livejam_wait(livejam_player *player, int wait) { player->wait = wait != 0; }
int livejam_latency(const livejam_player *player) { return player->latency(); }

void livejam_process(livejam_player *player, const float *const *in, float *const *out, int n) {
    player->process(in, out, n);
}

uint64_t livejam_missed(const livejam_player *player) { return player->missed; }
uint64_t livejam_damaged(const livejam_player *player) { return player->damaged; }
uint64_t livejam_restarts(const livejam_player *player) { return player->restarts; }
const char *livejam_failure(const livejam_player *player) { return player->failure(); }
