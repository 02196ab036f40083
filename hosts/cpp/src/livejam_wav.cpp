// livejam-wav: an exported model plays to a recording, as if live.
#include <sndfile.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "error.h"
#include "livejam.h"

namespace {

using livejam::Error;
using livejam::require;

constexpr int PIECE = 4096;
constexpr const char *USAGE =
    "usage: livejam-wav --model DIR --mix IN.wav --out OUT.wav [--instrument NAME] [--prompt TEXT]\n"
    "                   [--negative-prompt TEXT] [--seed S] [--overwrite] [--dry G] [--wet G] [--feedback G]\n\n"
    "A model that `livejam export` wrote to DIR plays to a recording (WAV or FLAC, any usual rate), as if live.\n"
    "OUT.wav (32-bit floats) has its length, rate and channels. Equal seeds play equal notes (default: 0).\n"
    "TEXT is a prompt that was exported with a model that takes words (default: the instrument's own),\n"
    "or what it is led away from (`livejam export --guidance prompt=3`; default: nothing).\n\n"
    "With --dry, --wet or --feedback, a model that answers what it has heard (`livejam export --cutoff 1`) is a\n"
    "generative delay, as `livejam delay` is one: gains of the recording and of the answers in OUT.wav, 0 to 1\n"
    "(default: 1), and of the answers in what the model hears next, 0 to less than 1 (default: 0). OUT.wav is then\n"
    "longer by the delay. Without them, it holds the answers alone, each beside what it answers.\n";

struct Gains {
    double dry = 1, wet = 1, feedback = 0;
};

struct Options {
    std::string model, mix, out, instrument, prompt, negative_prompt;
    long long seed = 0;
    std::optional<Gains> delay;
    bool overwrite = false, help = false;
};

double gain_of(const std::string &word, const std::string &text) {
    char *end = nullptr;
    const double gain = std::strtod(text.c_str(), &end);
    require(!text.empty() && *end == '\0', word + " " + text + " is no number; see livejam-wav --help");
    return gain;
}

long long seed_of(const std::string &text) {
    char *end = nullptr;
    errno = 0;
    const long long seed = std::strtoll(text.c_str(), &end, 10);
    require(!text.empty() && *end == '\0' && errno == 0 && seed >= 0,
            "the seed " + text + " is outside 0 to 2^63 - 1; use another one");
    return seed;
}

Options parse(const std::vector<std::string> &words) {
    Options options;
    Gains gains;
    std::map<std::string, std::string *> texts = {{"--model", &options.model}, {"--mix", &options.mix},
                                                  {"--out", &options.out},     {"--instrument", &options.instrument},
                                                  {"--prompt", &options.prompt},
                                                  {"--negative-prompt", &options.negative_prompt}};
    const std::map<std::string, double *> knobs = {
        {"--dry", &gains.dry}, {"--wet", &gains.wet}, {"--feedback", &gains.feedback}};
    for (size_t i = 0; i < words.size(); ++i) {
        const std::string &word = words[i];
        const bool text = texts.count(word) == 1, knob = knobs.count(word) == 1;
        if (word == "--help" || word == "-h") {
            options.help = true;
        } else if (word == "--overwrite") {
            options.overwrite = true;
        } else {
            require(text || knob || word == "--seed", "there is no option " + word + "; see livejam-wav --help");
            require(i + 1 < words.size(), word + " wants a value; see livejam-wav --help");
            if (text) *texts[word] = words[++i];
            else if (knob) *knobs.at(word) = gain_of(word, words[++i]);
            else options.seed = seed_of(words[++i]);
            if (knob) options.delay = gains;
        }
    }
    for (const char *needed : {"--model", "--mix", "--out"}) {
        require(options.help || !texts[needed]->empty(), std::string("give ") + needed + "; see livejam-wav --help");
    }
    return options;
}

using File = std::unique_ptr<SNDFILE, int (*)(SNDFILE *)>;

File open(const std::string &path, int mode, SF_INFO &info) {
    File file(sf_open(path.c_str(), mode, &info), sf_close);
    require(file != nullptr, path + " cannot be " + (mode == SFM_READ ? "read as sound" : "written") + " (" +
                                 sf_strerror(nullptr) + ")");
    return file;
}

struct Recording {
    SF_INFO info{};
    std::vector<float> samples;  // interleaved
};

Recording read(const std::string &path) {
    Recording recording;
    const File file = open(path, SFM_READ, recording.info);
    const SF_INFO &info = recording.info;
    recording.samples.resize(static_cast<size_t>(info.frames) * info.channels);
    const sf_count_t got = sf_readf_float(file.get(), recording.samples.data(), info.frames);
    require(info.frames > 0, path + " holds no sound; use another recording");
    require(got == info.frames, path + " is cut off; export it again");
    const auto &samples = recording.samples;
    const auto bad = std::find_if(samples.begin(), samples.end(), [](float x) { return !std::isfinite(x); });
    const auto place = static_cast<double>(bad - samples.begin()) / info.channels / info.samplerate;
    require(bad == samples.end(), path + " contains NaN or infinite samples, the first at " +
                                                std::to_string(place) + " s; export it again");
    return recording;
}

// A recording's samples from `frame` on, as channels of the model: the mean of all for mono, pairs as they are.
void hear(const Recording &recording, sf_count_t frame, int count, std::vector<std::vector<float>> &sound) {
    const int channels = recording.info.channels, wanted = static_cast<int>(sound.size());
    for (int i = 0; i < count; ++i) {
        const bool ended = frame + i >= recording.info.frames;
        const float *given = ended ? nullptr : &recording.samples[static_cast<size_t>(frame + i) * channels];
        float mean = 0;
        for (int channel = 0; !ended && channel < channels; ++channel) {
            mean += given[channel] / static_cast<float>(channels);
        }
        for (int channel = 0; channel < wanted; ++channel) {
            sound[channel][i] = ended ? 0.0f : channels == wanted ? given[channel] : mean;
        }
    }
}

// A model's sound in the recording's channels: mixed down, or on the first two of them.
float out_of(const std::vector<std::vector<float>> &sound, int i, int channel, int channels) {
    if (sound.size() == 2 && channels == 1) return (sound[0][i] + sound[1][i]) / 2;
    return channel < 2 ? sound[channel % sound.size()][i] : 0.0f;
}

// What comes out, in the recording's channels: as long as the recording, in time with it; a delay's is longer and late.
std::vector<float> play(livejam_player *player, const Recording &recording, bool late) {
    const sf_count_t latency = livejam_latency(player), total = recording.info.frames + latency;
    const int channels = recording.info.channels;
    std::vector<std::vector<float>> sound(livejam_channels(player), std::vector<float>(PIECE));
    std::vector<float *> pointers;
    for (auto &channel : sound) pointers.push_back(channel.data());
    std::vector<float> played;
    played.reserve(static_cast<size_t>(total) * channels);
    for (sf_count_t frame = 0; frame < total; frame += PIECE) {
        const int count = static_cast<int>(std::min<sf_count_t>(PIECE, total - frame));
        hear(recording, frame, count, sound);
        livejam_process(player, pointers.data(), pointers.data(), count);
        if (const char *failure = livejam_failure(player)) throw Error(failure);
        for (int i = late ? 0 : static_cast<int>(std::clamp<sf_count_t>(latency - frame, 0, count)); i < count; ++i) {
            for (int channel = 0; channel < channels; ++channel) played.push_back(out_of(sound, i, channel, channels));
        }
    }
    return played;
}

// The dry sound keeps all channels of the recording.
void add(const Recording &recording, double dry, std::vector<float> &played) {
    const auto &samples = recording.samples;
    for (size_t i = 0; i < samples.size(); ++i) played[i] += static_cast<float>(dry) * samples[i];
}

void write(const std::string &path, const Recording &recording, const std::vector<float> &played) {
    SF_INFO info{};
    info.samplerate = recording.info.samplerate;
    info.channels = recording.info.channels;
    info.format = SF_FORMAT_WAV | SF_FORMAT_FLOAT;
    const std::string temporary = path + ".part";
    {
        const File file = open(temporary, SFM_WRITE, info);
        const auto count = static_cast<sf_count_t>(played.size());
        require(sf_write_float(file.get(), played.data(), count) == count,
                path + " cannot be written: " + sf_strerror(file.get()));
    }
    std::filesystem::rename(temporary, path);
}

std::unique_ptr<livejam_player, void (*)(livejam_player *)> load(const Options &options, int rate) {
    char error[1024] = "";
    std::unique_ptr<livejam_player, void (*)(livejam_player *)> player(
        livejam_load(options.model.c_str(), rate, error, sizeof error), livejam_free);
    require(player != nullptr, error);
    if (!options.instrument.empty()) {
        const bool learnt = livejam_set_instrument(player.get(), options.instrument.c_str(), error, sizeof error) == 0;
        require(learnt, error);
    }
    require(livejam_set_prompt(player.get(), options.prompt.c_str(), error, sizeof error) == 0, error);
    const char *negative = options.negative_prompt.c_str();
    require(livejam_set_negative_prompt(player.get(), negative, error, sizeof error) == 0, error);
    livejam_set_seed(player.get(), options.seed);
    if (const auto &delay = options.delay) {
        for (const double dry : {delay->dry, 0.0}) {  // the dry sound is added to all channels of the recording
            const int set = livejam_set_delay(player.get(), dry, delay->wet, delay->feedback, error, sizeof error);
            require(set == 0, error);
        }
    }
    return player;
}

void require_free(const Options &options) {
    namespace fs = std::filesystem;
    require(!fs::is_directory(options.out), "--out " + options.out + " is a folder; name a file in it");
    if (!fs::exists(options.out)) return;
    require(!fs::exists(options.mix) || !fs::equivalent(options.out, options.mix),
            "--out " + options.out + " is also the mix; write to another file");
    require(options.overwrite, "--out " + options.out + " exists; choose another name, or replace it with --overwrite");
}

int run(const Options &options) {
    require_free(options);
    const Recording recording = read(options.mix);
    const auto player = load(options, recording.info.samplerate);
    const auto started = std::chrono::steady_clock::now();
    std::vector<float> played = play(player.get(), recording, options.delay.has_value());
    if (options.delay) add(recording, options.delay->dry, played);
    const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    write(options.out, recording, played);
    const double seconds = static_cast<double>(recording.info.frames) / recording.info.samplerate;
    std::printf("%s: %.1f s in %.1f s, %.1f times real time\n", options.out.c_str(), seconds, took, seconds / took);
    return 0;
}

}  // namespace

int main(int count, char **words) {
    try {
        const Options options = parse({words + 1, words + count});
        if (!options.help) return run(options);
        std::fputs(USAGE, stdout);
        return 0;
    } catch (const std::exception &error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return 2;
    }
}
