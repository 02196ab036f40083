// Samples by their positions in a stream: one thread writes, one reads, and neither waits.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

namespace livejam {

// Position p lies at p modulo the size. What is older than the size has been written over: readers check positions.
class Ring {
public:
    explicit Ring(int64_t least) {
        while (size_ < least) size_ *= 2;
        samples_ = std::make_unique<std::atomic<float>[]>(static_cast<size_t>(size_));
        for (int64_t position = 0; position < size_; ++position) write(position, 0.0f);
    }

    int64_t size() const { return size_; }
    void write(int64_t position, float sample) { at(position).store(sample, std::memory_order_relaxed); }
    float read(int64_t position) const { return at(position).load(std::memory_order_relaxed); }

private:
    std::atomic<float> &at(int64_t position) const { return samples_[static_cast<size_t>(position & (size_ - 1))]; }

    int64_t size_ = 1;
    std::unique_ptr<std::atomic<float>[]> samples_;
};

}  // namespace livejam
