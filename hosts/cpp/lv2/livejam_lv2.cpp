// An exported model as an LV2 plug-in; the model lies in the bundle.
#include <lv2/buf-size/buf-size.h>
#include <lv2/core/lv2.h>
#include <lv2/options/options.h>
#include <lv2/urid/urid.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "livejam.h"

namespace {

constexpr int UNKNOWN_LARGEST = 4096;  // samples of a call, if the host does not say
constexpr float SMOOTHING_SECONDS = 0.01f;
constexpr float HIGHEST_SEED = 1 << 24;  // floats know all whole numbers up to it

// The order in plugin.ttl; the channels of in and out come after them, then the feedback of a delay, and then the prompt
// of a model that takes words, and what it is led away from, where it is guided.
enum Port { INSTRUMENT, SEED, MIX, LEVEL, LATENCY, MISSED, FREEWHEEL, FIRST_SOUND };

struct Plugin {
    livejam_player *player = nullptr;
    bool delay = false;  // a model that answers what it has heard
    int channels = 1, largest = 0, latency = 0, instrument = -1;
    int prompts = 0, negative_prompts = 0;  // 0 is the instrument's own, and away from none, as in the beginning
    int prompt = 0, negative_prompt = 0;
    int64_t seed = -1;
    std::array<float *, FIRST_SOUND + 7> ports{};
    std::array<std::vector<float>, 2> heard, played, dry;  // of a call; dry is late by the latency
    int64_t dry_position = 0;
    float wet_gain = 0, dry_gain = 0, smoothing = 0;

    ~Plugin() { livejam_free(player); }
    // Within bounds, whatever the host gives; no number counts as the least.
    float control(int port, float least, float most) const { return std::min(most, std::max(least, *ports[port])); }
    float mix() const { return control(MIX, 0, 1); }
    float level() const { return std::pow(10.0f, control(LEVEL, -60, 24) / 20); }
    int number(int port, int last) const { return static_cast<int>(std::lround(control(port, 0, static_cast<float>(last)))); }
    int first_words() const { return FIRST_SOUND + 2 * channels + (delay ? 1 : 0); }
    float feedback() const { return control(FIRST_SOUND + 2 * channels, 0, 0.99f); }
};

template <typename T>
const T *feature(const LV2_Feature *const *features, const char *uri) {
    for (; features != nullptr && *features != nullptr; ++features) {
        if (std::strcmp((*features)->URI, uri) == 0) return static_cast<const T *>((*features)->data);
    }
    return nullptr;
}

int largest_call(const LV2_Feature *const *features) {
    const auto *map = feature<LV2_URID_Map>(features, LV2_URID__map);
    const auto *options = feature<LV2_Options_Option>(features, LV2_OPTIONS__options);
    if (map == nullptr || options == nullptr) return UNKNOWN_LARGEST;
    const LV2_URID key = map->map(map->handle, LV2_BUF_SIZE__maxBlockLength);
    for (; options->key != 0; ++options) {
        const auto *largest = static_cast<const int *>(options->value);
        if (options->key == key && largest != nullptr) return std::max(1, *largest);
    }
    return UNKNOWN_LARGEST;
}

LV2_Handle instantiate(const LV2_Descriptor *, double rate, const char *bundle, const LV2_Feature *const *features) {
    auto plugin = std::make_unique<Plugin>();
    char error[1024] = "";
    const std::string folder = std::string(bundle) + "/model";
    plugin->player = livejam_load(folder.c_str(), static_cast<int>(std::lround(rate)), error, sizeof error);
    plugin->largest = largest_call(features);
    if (plugin->player == nullptr) {
        std::fprintf(stderr, "livejam: %s\n", error);
        return nullptr;
    }
    plugin->delay = livejam_set_delay(plugin->player, 0, 1, 0, nullptr, 0) == 0;
    if (livejam_start(plugin->player, plugin->largest, -1) != 0) {
        std::fprintf(stderr, "livejam: no thread can be started\n");
        return nullptr;
    }
    plugin->channels = livejam_channels(plugin->player);
    plugin->prompts = livejam_prompts(plugin->player);
    plugin->negative_prompts = livejam_negative_prompts(plugin->player);
    // the lateness of a delay is what it is there for
    plugin->latency = plugin->delay ? 0 : livejam_latency(plugin->player);
    for (int channel = 0; channel < plugin->channels; ++channel) {
        plugin->heard[channel].resize(plugin->largest);
        plugin->played[channel].resize(plugin->largest);
        plugin->dry[channel].resize(plugin->latency + 1);
    }
    plugin->smoothing = 1 - std::exp(-1 / (SMOOTHING_SECONDS * static_cast<float>(rate)));
    return plugin.release();
}

void connect_port(LV2_Handle handle, uint32_t port, void *data) {
    auto &ports = static_cast<Plugin *>(handle)->ports;
    if (port < ports.size()) ports[port] = static_cast<float *>(data);
}

void activate(LV2_Handle handle) {
    auto &plugin = *static_cast<Plugin *>(handle);
    livejam_reset(plugin.player);
    for (auto &channel : plugin.dry) std::fill(channel.begin(), channel.end(), 0.0f);
}

void follow_controls(Plugin &plugin) {
    const int last = livejam_instruments(plugin.player) - 1;
    const int instrument = plugin.number(INSTRUMENT, last);
    const auto seed = static_cast<int64_t>(plugin.control(SEED, 0, HIGHEST_SEED));
    if (instrument != plugin.instrument) livejam_set_instrument_number(plugin.player, plugin.instrument = instrument);
    if (seed != plugin.seed) livejam_set_seed(plugin.player, plugin.seed = seed);
    livejam_wait(plugin.player, plugin.control(FREEWHEEL, 0, 1) > 0);
    if (plugin.prompts > 0) {
        const int prompt = plugin.number(plugin.first_words(), plugin.prompts);
        if (prompt != plugin.prompt) livejam_set_prompt_number(plugin.player, (plugin.prompt = prompt) - 1);
    }
    if (plugin.negative_prompts > 0) {
        const int avoided = plugin.number(plugin.first_words() + 1, plugin.negative_prompts);
        if (avoided != plugin.negative_prompt) {
            livejam_set_negative_prompt_number(plugin.player, (plugin.negative_prompt = avoided) - 1);
        }
    }
    if (plugin.delay) livejam_set_delay(plugin.player, 0, 1, plugin.feedback(), nullptr, 0);
}

float delayed(Plugin &plugin, int channel, int64_t position, float sample) {
    auto &line = plugin.dry[channel];
    const auto size = static_cast<int64_t>(line.size());
    line[static_cast<size_t>(position % size)] = sample;
    return line[static_cast<size_t>((position + 1) % size)];
}

void run_piece(Plugin &plugin, int from, int n) {
    const float *in[2] = {};
    float *out[2] = {};
    for (int channel = 0; channel < plugin.channels; ++channel) {
        // the host may give in and out the same memory
        std::copy_n(plugin.ports[FIRST_SOUND + channel] + from, n, plugin.heard[channel].begin());
        in[channel] = plugin.heard[channel].data();
        out[channel] = plugin.played[channel].data();
    }
    livejam_process(plugin.player, in, out, n);
    const float mix = plugin.mix(), wet = mix * plugin.level();
    for (int i = 0; i < n; ++i) {
        plugin.wet_gain += plugin.smoothing * (wet - plugin.wet_gain);
        plugin.dry_gain += plugin.smoothing * (1 - mix - plugin.dry_gain);
        for (int channel = 0; channel < plugin.channels; ++channel) {
            const float sample = std::isfinite(in[channel][i]) ? in[channel][i] : 0.0f;
            const float dry = delayed(plugin, channel, plugin.dry_position + i, sample);
            plugin.ports[FIRST_SOUND + plugin.channels + channel][from + i] =
                plugin.wet_gain * out[channel][i] + plugin.dry_gain * dry;
        }
    }
    plugin.dry_position += n;
}

void run(LV2_Handle handle, uint32_t samples) {
    auto &plugin = *static_cast<Plugin *>(handle);
    follow_controls(plugin);
    for (int done = 0, total = static_cast<int>(samples); done < total; done += plugin.largest) {
        run_piece(plugin, done, std::min(plugin.largest, total - done));
    }
    *plugin.ports[LATENCY] = static_cast<float>(plugin.latency);
    *plugin.ports[MISSED] = static_cast<float>(livejam_missed(plugin.player));
}

void cleanup(LV2_Handle handle) { delete static_cast<Plugin *>(handle); }

const LV2_Descriptor DESCRIPTOR = {
    LIVEJAM_LV2_URI, instantiate, connect_port, activate, run, nullptr, cleanup, nullptr};

}  // namespace

extern "C" LV2_SYMBOL_EXPORT const LV2_Descriptor *lv2_descriptor(uint32_t index) {
    return index == 0 ? &DESCRIPTOR : nullptr;
}
