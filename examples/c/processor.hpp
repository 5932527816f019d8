// The capture of an amplifier as an audio plug-in runs it, in the shape of juce::AudioProcessor and without
// JUCE.
#pragma once
#include "rnnrt.h"
#include <algorithm>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

class AmpProcessor {
  public:
    // Not on the audio thread. The bytes of a .rnnrt file, which may be thrown away after this.
    AmpProcessor(const void *file, size_t size) {
        rnnrt_error error;
        if (int status = rnnrt_load_memory(&plan, file, size, &error)) fail(status, error);
        rnnrt_port in, out;
        rnnrt_plan_input(plan, 0, &in), rnnrt_plan_output(plan, 0, &out);
        if (rnnrt_plan_inputs(plan) != 1 || in.width != 1 || out.width != 1) {
            rnnrt_plan_free(plan);
            throw std::runtime_error("the network does not take one channel to one channel");
        }
    }
    ~AmpProcessor() {
        releaseResources();
        rnnrt_plan_free(plan);
    }
    AmpProcessor(const AmpProcessor &) = delete;
    AmpProcessor &operator=(const AmpProcessor &) = delete;

    // Hz the capture was made at, 0 where the file does not say. At another rate it sounds otherwise:
    // resample.
    double modelSampleRate() const { return fact("sample_rate"); }
    int getLatencySamples() const { return static_cast<int>(fact("delay")); }

    // Not on the audio thread: a stream for every channel, in memory of this object.
    void prepareToPlay(int channels, int samplesPerBlock) {
        releaseResources();
        size_t bytes;
        rnnrt_error error = {};
        if (int status = rnnrt_stream_size(plan, 1, 0, &bytes)) fail(status, error);
        for (int c = 0; c < channels; c++) {
            rnnrt_stream *stream;
            memory.push_back(std::aligned_alloc(64, (bytes + 63) / 64 * 64));
            if (!memory.back()) throw std::bad_alloc();
            if (int status = rnnrt_stream_init(&stream, memory.back(), bytes, plan, 1, 0, false, &error))
                fail(status, error);
            streams.push_back(stream);
        }
        block.assign(static_cast<size_t>(samplesPerBlock), 0.0f);
    }

    // On the audio thread: no allocation, no lock, no system call. In place; a block may have any length up
    // to samplesPerBlock, and every sample comes getLatencySamples() late.
    void processBlock(float *const *channels, int count, int samples) noexcept {
        const size_t n = std::min(static_cast<size_t>(samples), block.size());
        for (size_t c = 0; c < static_cast<size_t>(count) && c < streams.size(); c++) {
            rnnrt_array in = {channels[c], 1, 1, n, 1}, out = {block.data(), 1, 1, n, 1};
            if (rnnrt_stream_push(streams[c], &in, &out, nullptr, nullptr)) out.frames = 0;
            std::fill(channels[c], channels[c] + n - out.frames, 0.0f); // before the first answer: silence
            std::copy(block.data(), block.data() + out.frames, channels[c] + n - out.frames);
        }
    }

    void reset() noexcept { // the play head has jumped
        for (rnnrt_stream *stream : streams) rnnrt_stream_reset(stream);
    }

    void releaseResources() {
        for (rnnrt_stream *stream : streams) rnnrt_stream_free(stream);
        for (void *held : memory) std::free(held);
        streams.clear(), memory.clear();
    }

  private:
    rnnrt_plan *plan = nullptr;
    std::vector<rnnrt_stream *> streams;
    std::vector<void *> memory;
    std::vector<float> block;

    double fact(const char *name) const {
        double value = 0;
        return rnnrt_plan_fact(plan, name, &value) ? value : 0;
    }
    [[noreturn]] static void fail(int status, const rnnrt_error &error) {
        throw std::runtime_error(std::string(rnnrt_status_text(status)) +
                                 (error.text ? std::string(": ") + error.text : ""));
    }
};
