// What the library says about a model at a rate, in JSON.
#include <cstdio>
#include <cstdlib>

#include "livejam.h"

int main(int, char **words) {
    char error[1024] = "";
    livejam_player *player = livejam_load(words[1], std::atoi(words[2]), error, sizeof error);
    if (player == nullptr) {
        std::fprintf(stderr, "error: %s\n", error);
        return 1;
    }
    std::printf("{\"lead\": %d, \"latency\": %d}\n", livejam_lead(player), livejam_latency(player));
    livejam_free(player);
    return 0;
}
