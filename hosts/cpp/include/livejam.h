/* A model that livejam exported (`livejam export`), played block by block.
 *
 *     livejam_player *player = livejam_load("exported", 48000, error, sizeof error);
 *     livejam_start(player, 512, -1);             // in a thread of its own; leave it out to write files
 *     livejam_process(player, in, out, 512);      // in the sound card's callback
 *     livejam_free(player);
 *
 * Times are samples at the rate that was given to livejam_load. Out comes what sounds together with what went in
 * livejam_latency samples before.
 *
 * Threads: livejam_process belongs to one thread, the audio thread. It never allocates, locks or throws. The functions
 * marked "any thread" may be called at any time beside it; all others only while it does not run.
 */
#ifndef LIVEJAM_H
#define LIVEJAM_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define LIVEJAM_API __declspec(dllexport)
#else
#define LIVEJAM_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct livejam_player livejam_player;

/* The model in a directory that `livejam export` wrote, before its first sample.
 *
 * rate_hz: of what goes in and comes out; 0 = the model's own. Other rates are resampled as livejam does it.
 * Returns NULL on failure, and one sentence in error (which may be NULL).
 */
LIVEJAM_API livejam_player *livejam_load(const char *folder, int rate_hz, char *error, size_t error_size);
LIVEJAM_API void livejam_free(livejam_player *player);

/* What the model is. */
LIVEJAM_API int livejam_model_rate(const livejam_player *player);
LIVEJAM_API int livejam_rate(const livejam_player *player);
LIVEJAM_API int livejam_channels(const livejam_player *player);      /* 1 or 2, of in and of out */
LIVEJAM_API int livejam_block(const livejam_player *player);         /* samples of a step, at the model's rate */
/* Place in the mix of the first sample that is played, likewise. */
LIVEJAM_API int livejam_first_output(const livejam_player *player);
LIVEJAM_API int livejam_instruments(const livejam_player *player);   /* how many it plays */
LIVEJAM_API const char *livejam_instrument(const livejam_player *player, int number); /* NULL beyond the last */

/* How many samples ahead of the mix the accompaniment is known, at least: the time for computing and for buffers.
 * Negative: it is late by so many. */
LIVEJAM_API int livejam_lead(const livejam_player *player);

/* Median duration of a step in seconds, measured while loading. */
LIVEJAM_API double livejam_step_seconds(const livejam_player *player);

/* Choose by a name or an alias, whatever its case. Any thread; heard from the next step on.
 * Returns 0, or -1 and in error a sentence with the names that there are. */
LIVEJAM_API int livejam_set_instrument(livejam_player *player, const char *name, char *error, size_t error_size);
LIVEJAM_API int livejam_set_instrument_number(livejam_player *player, int number); /* likewise, 0 for the first */

/* Ask for one of the prompts in words that `livejam export` stored, whatever its case: an instrument's name, or what
 * --prompt gave. NULL or "" = the instrument's own. Any thread; heard from the next step on.
 * Returns 0, or -1 and in error a sentence with the prompts that there are. */
LIVEJAM_API int livejam_set_prompt(livejam_player *player, const char *text, char *error, size_t error_size);

/* Lead away from one of these prompts, where the prompt is guided (`livejam export --guidance prompt=3`). NULL or "" =
 * from none. Any thread; heard from the next step on. Returns 0, or -1 and in error a sentence. */
LIVEJAM_API int livejam_set_negative_prompt(livejam_player *player, const char *text, char *error, size_t error_size);
LIVEJAM_API int livejam_prompts(const livejam_player *player);       /* how many there are */
LIVEJAM_API const char *livejam_prompt(const livejam_player *player, int number); /* NULL beyond the last */
LIVEJAM_API int livejam_negative_prompts(const livejam_player *player); /* how many it can be led away from: all or 0 */

/* The same by their numbers, 0 for the first; -1 = the instrument's own, and away from none. They neither allocate nor
 * lock. Return 0, or -1 if there is none of this number. */
LIVEJAM_API int livejam_set_prompt_number(livejam_player *player, int number);
LIVEJAM_API int livejam_set_negative_prompt_number(livejam_player *player, int number);

/* Seed of the noise: equal seeds play equal notes. Any thread; negative ones count as 0. */
LIVEJAM_API void livejam_set_seed(livejam_player *player, int64_t seed);

/* Forget all that was heard and played. Any thread; the model begins anew with the next sample. */
LIVEJAM_API void livejam_reset(livejam_player *player);

/* Make a generative delay of a model that answers what it has heard (`livejam export --cutoff 1`): out is dry times in
 * plus wet times the answers, and the model hears in plus feedback times the answers. What it answers to sounds
 * livejam_latency samples later, and bends towards full scale from half of it on, as on tape.
 *
 * dry, wet: 0 to 1. feedback: 0 to less than 1. The first call comes before livejam_start and the first sample; later
 * ones, from any thread, let the gains glide in a twentieth of a second.
 * Returns 0, or -1 and in error a sentence: the model plays ahead, a gain is out of range, or it has begun already. */
LIVEJAM_API int livejam_set_delay(livejam_player *player, double dry, double wet, double feedback, char *error,
                                  size_t error_size);

/* Compute in a thread of its own from now on.
 *
 * largest: samples of the largest call of livejam_process.
 * latency: in samples; -1 = as little as leaves a step twice its time. A step may take
 * lead + latency - largest samples.
 * Returns 0, or -1 if there can be no thread or the latency is less than -lead.
 */
LIVEJAM_API int livejam_start(livejam_player *player, int largest, int latency);

/* 1: livejam_process waits for the thread where the result is due (a host that renders faster than real time).
 * Any thread. */
LIVEJAM_API void livejam_wait(livejam_player *player, int wait);

/* Samples by which out is later than in; before livejam_start the least that is possible, max(0, -lead). */
LIVEJAM_API int livejam_latency(const livejam_player *player);

/* Hear n samples of each channel, and play n. in and out may be the same buffers; any n.
 *
 * NaN and infinity are heard as silence, and samples beyond +-10 as +-10. What is not ready in time is faded out, and
 * counted; what comes after it is again where it belongs. Without livejam_start, it computes here (for files).
 */
LIVEJAM_API void livejam_process(livejam_player *player, const float *const *in, float *const *out, int n);

/* Since loading. Any thread. */
LIVEJAM_API uint64_t livejam_missed(const livejam_player *player);    /* samples that were not ready in time */
LIVEJAM_API uint64_t livejam_damaged(const livejam_player *player);   /* samples that were NaN or infinite */
LIVEJAM_API uint64_t livejam_restarts(const livejam_player *player);  /* times that it had to begin anew */

/* NULL, or why it has fallen silent for good. Any thread. */
LIVEJAM_API const char *livejam_failure(const livejam_player *player);

#ifdef __cplusplus
}
#endif
#endif
