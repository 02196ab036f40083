// [livejam_player~ DIR INSTRUMENT]: an exported model inside Pure Data, without a server.
#include <m_pd.h>

#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "livejam.h"

static_assert(sizeof(t_sample) == sizeof(float), "this is for Pure Data with 32-bit samples");

namespace {

using Model = std::unique_ptr<livejam_player, void (*)(livejam_player *)>;

struct Sound {
    Model model{nullptr, livejam_free};
    std::string folder, instrument, prompt, negative_prompt;
    int64_t seed = 0;
    float dry = 0, wet = 1, feedback = 0;
    int channels = 1, wait = 0, largest = 0;
    // Pd may give inlets and outlets the same memory
    std::array<std::vector<float>, 2> heard;
    std::array<float *, 2> in{}, out{};
    uint64_t missed = 0;
};

t_class *object_class;

struct Object {
    t_object object;
    t_float unused;  // what a number in the first inlet would set
    Sound *sound;
    t_outlet *facts;
};

// Everything is set again after loading, because a model is loaded anew when Pd's rate has changed.
bool load(Object *object, int rate) {
    Sound &sound = *object->sound;
    char error[1024] = "";
    Model model(livejam_load(sound.folder.c_str(), rate, error, sizeof error), livejam_free);
    if (model == nullptr) {
        pd_error(object, "livejam_player~: %s", error);
        return false;
    }
    const bool named = !sound.instrument.empty();
    if (named && livejam_set_instrument(model.get(), sound.instrument.c_str(), error, sizeof error) != 0) {
        pd_error(object, "livejam_player~: %s", error);
    }
    // a model that was exported again may know other prompts
    if (!sound.prompt.empty() && livejam_set_prompt(model.get(), sound.prompt.c_str(), error, sizeof error) != 0) {
        pd_error(object, "livejam_player~: %s", error);
    }
    const char *avoided = sound.negative_prompt.c_str();
    if (*avoided != '\0' && livejam_set_negative_prompt(model.get(), avoided, error, sizeof error) != 0) {
        pd_error(object, "livejam_player~: %s", error);
    }
    livejam_set_seed(model.get(), sound.seed);
    livejam_set_delay(model.get(), sound.dry, sound.wet, sound.feedback, nullptr, 0);  // if the model can be one
    livejam_wait(model.get(), sound.wait);
    sound.model = std::move(model);
    sound.largest = 0;
    return true;
}

void tell(Object *object, const char *what, double value) {
    t_atom number;
    SETFLOAT(&number, static_cast<t_float>(value));
    outlet_anything(object->facts, gensym(what), 1, &number);
}

t_int *perform(t_int *words) {
    Sound &sound = *reinterpret_cast<Object *>(words[1])->sound;
    const int n = static_cast<int>(words[2]);
    const float *in[2];
    for (int channel = 0; channel < sound.channels; ++channel) {
        std::memcpy(sound.heard[channel].data(), sound.in[channel], static_cast<size_t>(n) * sizeof(float));
        in[channel] = sound.heard[channel].data();
    }
    livejam_process(sound.model.get(), in, sound.out.data(), n);
    return words + 3;
}

t_int *perform_silence(t_int *words) {
    Sound &sound = *reinterpret_cast<Object *>(words[1])->sound;
    for (int channel = 0; channel < sound.channels; ++channel) {
        std::memset(sound.out[channel], 0, static_cast<size_t>(words[2]) * sizeof(float));
    }
    return words + 3;
}

void dsp(Object *object, t_signal **signals) {
    Sound &sound = *object->sound;
    const int n = signals[0]->s_n, rate = static_cast<int>(signals[0]->s_sr);
    for (int channel = 0; channel < sound.channels; ++channel) {
        sound.in[channel] = signals[channel]->s_vec;
        sound.out[channel] = signals[sound.channels + channel]->s_vec;
        sound.heard[channel].resize(static_cast<size_t>(n));
    }
    bool ready = sound.model != nullptr;
    const bool fits = ready && livejam_rate(sound.model.get()) == rate && (sound.largest == 0 || n <= sound.largest);
    if (ready && !fits) ready = load(object, rate);
    if (ready && sound.largest == 0) {
        ready = livejam_start(sound.model.get(), n, -1) == 0;
        sound.largest = n;
        tell(object, "latency", livejam_latency(sound.model.get()));
    }
    dsp_add(ready ? perform : perform_silence, 2, object, static_cast<t_int>(n));
}

void instrument(Object *object, t_symbol *name) {
    char error[1024];
    object->sound->instrument = name->s_name;
    livejam_player *model = object->sound->model.get();
    if (model != nullptr && livejam_set_instrument(model, name->s_name, error, sizeof error) != 0) {
        pd_error(object, "livejam_player~: %s", error);
    }
}

// What stands in a message, with spaces between its words.
std::string text_of(int count, t_atom *words) {
    std::string text;
    char word[MAXPDSTRING];
    for (int place = 0; place < count; ++place) {
        atom_string(&words[place], word, sizeof word);
        text += (place == 0 ? "" : " ") + std::string(word);
    }
    return text;
}

using Ask = int (*)(livejam_player *, const char *, char *, size_t);

// What is refused is not kept: the prompt before it stays.
void ask(Object *object, Ask set, std::string &kept, const std::string &text) {
    char error[1024];
    livejam_player *model = object->sound->model.get();
    if (model != nullptr && set(model, text.c_str(), error, sizeof error) != 0) {
        pd_error(object, "livejam_player~: %s", error);
        return;
    }
    kept = text;
}

void prompt(Object *object, t_symbol *, int count, t_atom *words) {
    ask(object, livejam_set_prompt, object->sound->prompt, text_of(count, words));
}

void negative_prompt(Object *object, t_symbol *, int count, t_atom *words) {
    ask(object, livejam_set_negative_prompt, object->sound->negative_prompt, text_of(count, words));
}

void seed(Object *object, t_floatarg value) {
    object->sound->seed = value >= 0 && value < 9e18f ? static_cast<int64_t>(value) : 0;
    if (object->sound->model) livejam_set_seed(object->sound->model.get(), object->sound->seed);
}

void delay(Object *object, t_floatarg dry, t_floatarg wet, t_floatarg feedback) {
    char error[1024];
    Sound &sound = *object->sound;
    if (sound.model == nullptr) return;
    if (livejam_set_delay(sound.model.get(), dry, wet, feedback, error, sizeof error) != 0) {
        pd_error(object, "livejam_player~: %s", error);
        return;
    }
    sound.dry = dry;
    sound.wet = wet;
    sound.feedback = feedback;
}

void wait(Object *object, t_floatarg value) {
    object->sound->wait = value != 0;
    if (object->sound->model) livejam_wait(object->sound->model.get(), object->sound->wait);
}

void reset(Object *object) {
    if (object->sound->model) livejam_reset(object->sound->model.get());
}

void bang(Object *object) {
    const livejam_player *model = object->sound->model.get();
    if (model == nullptr) return;
    if (const char *failure = livejam_failure(model)) pd_error(object, "livejam_player~: %s", failure);
    tell(object, "missed", static_cast<double>(livejam_missed(model)));
    tell(object, "damaged", static_cast<double>(livejam_damaged(model)));
    tell(object, "latency", livejam_latency(model));
}

void *make(t_symbol *, int count, t_atom *words) {
    auto *object = reinterpret_cast<Object *>(pd_new(object_class));
    object->sound = new Sound;
    Sound &sound = *object->sound;
    sound.instrument = count > 1 ? atom_getsymbolarg(1, count, words)->s_name : "";
    const std::string folder = count > 0 ? atom_getsymbolarg(0, count, words)->s_name : "";
    sound.folder = sys_isabsolutepath(folder.c_str()) ? folder : canvas_getcurrentdir()->s_name + ("/" + folder);
    if (folder.empty()) {
        pd_error(object, "livejam_player~: name a folder that livejam export wrote: [livejam_player~ exported drums]");
    } else if (load(object, static_cast<int>(sys_getsr()))) {
        sound.channels = livejam_channels(sound.model.get());
    }
    if (sound.channels == 2) inlet_new(&object->object, &object->object.ob_pd, &s_signal, &s_signal);
    for (int channel = 0; channel < sound.channels; ++channel) outlet_new(&object->object, &s_signal);
    object->facts = outlet_new(&object->object, nullptr);
    return object;
}

void unmake(Object *object) { delete object->sound; }

t_method method(void (*function)(Object *)) { return reinterpret_cast<t_method>(function); }

}  // namespace

extern "C" LIVEJAM_API void livejam_player_tilde_setup(void) {
    object_class = class_new(gensym("livejam_player~"), reinterpret_cast<t_newmethod>(make), method(unmake),
                             sizeof(Object), CLASS_DEFAULT, A_GIMME, 0);
    CLASS_MAINSIGNALIN(object_class, Object, unused);
    class_addmethod(object_class, reinterpret_cast<t_method>(dsp), gensym("dsp"), A_CANT, 0);
    class_addmethod(object_class, reinterpret_cast<t_method>(instrument), gensym("instrument"), A_SYMBOL, 0);
    class_addmethod(object_class, reinterpret_cast<t_method>(prompt), gensym("prompt"), A_GIMME, 0);
    class_addmethod(object_class, reinterpret_cast<t_method>(negative_prompt), gensym("negative_prompt"), A_GIMME, 0);
    class_addmethod(object_class, reinterpret_cast<t_method>(seed), gensym("seed"), A_FLOAT, 0);
    class_addmethod(object_class, reinterpret_cast<t_method>(delay), gensym("delay"), A_FLOAT, A_FLOAT, A_FLOAT, 0);
    class_addmethod(object_class, reinterpret_cast<t_method>(wait), gensym("wait"), A_FLOAT, 0);
    class_addmethod(object_class, method(reset), gensym("reset"), A_NULL);
    class_addbang(object_class, method(bang));
}
