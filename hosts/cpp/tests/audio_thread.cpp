// Whether livejam_process allocates or locks, in JSON. The functions below take the place of the C library's (glibc).
#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

#include "livejam.h"

namespace {

thread_local bool watched = false;
std::atomic<int> allocations{0}, locks{0};

void count(std::atomic<int> &what) {
    if (watched) ++what;
}

}  // namespace

extern "C" {
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);

void *malloc(size_t size) {
    count(allocations);
    return __libc_malloc(size);
}

void *calloc(size_t number, size_t size) {
    count(allocations);
    return __libc_calloc(number, size);
}

void *realloc(void *old, size_t size) {
    count(allocations);
    return __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    count(allocations);
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size) {
    count(allocations);
    *out = __libc_memalign(alignment, size);
    return *out == nullptr ? 12 : 0;
}

void free(void *old) {
    if (old != nullptr) count(allocations);
    __libc_free(old);
}

int pthread_mutex_lock(pthread_mutex_t *mutex) {
    static const auto real = reinterpret_cast<int (*)(pthread_mutex_t *)>(dlsym(RTLD_NEXT, "pthread_mutex_lock"));
    count(locks);
    return real(mutex);
}

int pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex) {
    static const auto real = reinterpret_cast<int (*)(pthread_cond_t *, pthread_mutex_t *)>(
        dlvsym(RTLD_NEXT, "pthread_cond_wait", "GLIBC_2.3.2"));
    count(locks);
    return real(condition, mutex);
}
}

namespace {

// The watch itself must see what it is there for.
bool watch_works() {
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    watched = true;
    std::vector<float> *made = new std::vector<float>(100);
    pthread_mutex_lock(&mutex);
    watched = false;
    pthread_mutex_unlock(&mutex);
    delete made;
    const bool works = allocations == 2 && locks == 1;
    allocations = locks = 0;
    return works;
}

void play(livejam_player *player, int rate, double seconds, bool delay) {
    std::mt19937 random(0);
    std::vector<float> left(600), right(600);
    float *both[] = {left.data(), right.data()};
    const auto started = std::chrono::steady_clock::now();
    for (int heard = 0, calls = 0; heard < seconds * rate; ++calls) {
        const int n = 1 + static_cast<int>(random() % 600);
        for (int i = 0; i < n; ++i) left[i] = right[i] = 0.3f * std::sin(0.05f * static_cast<float>(heard + i));
        if (calls % 50 == 7) left[0] = NAN;
        watched = true;
        if (calls % 100 == 99) livejam_reset(player);
        if (calls % 10 == 9) livejam_set_instrument_number(player, calls % 3);
        if (delay && calls % 10 == 3) livejam_set_delay(player, 1, 0.9, 0.01 * (calls % 70), nullptr, 0);
        livejam_process(player, both, both, n);
        watched = false;
        heard += n;
        std::this_thread::sleep_until(started + std::chrono::duration<double>(static_cast<double>(heard) / rate));
    }
}

}  // namespace

int main(int, char **words) {
    const int rate = std::atoi(words[2]);
    char error[1024] = "";
    livejam_player *player = livejam_load(words[1], rate, error, sizeof error);
    const bool delay = player != nullptr && livejam_set_delay(player, 1, 1, 0.5, nullptr, 0) == 0;
    if (player == nullptr || livejam_start(player, 600, -1) != 0) {
        std::fprintf(stderr, "error: %s\n", error);
        return 1;
    }
    const bool works = watch_works();
    play(player, rate, std::atof(words[3]), delay);
    std::printf("{\"watch_works\": %s, \"allocations\": %d, \"locks\": %d, \"missed\": %llu, \"damaged\": %llu, "
                "\"delay\": %s, \"latency\": %d, \"failure\": \"%s\"}\n",
                works ? "true" : "false", allocations.load(), locks.load(),
                static_cast<unsigned long long>(livejam_missed(player)),
                static_cast<unsigned long long>(livejam_damaged(player)), delay ? "true" : "false", livejam_latency(player),
                livejam_failure(player) ? livejam_failure(player) : "");
    livejam_free(player);
    return 0;
}
