// Streams a capture on rnnrt and on NeuralAmpModelerCore in turns, for tools/bench_nam.py.
//
//     bench_nam CAPTURE.nam CAPTURE.rnnrt BLOCK BLOCKS
//
// prints one line: the largest difference of the answers, then of rnnrt and of the other the best, median and
// 99.9th percentile of a block's time in microseconds.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "NAM/activations.h"
#include "NAM/dsp.h"
#include "NAM/get_dsp.h"
#include "rnnrt.h"

using Clock = std::chrono::steady_clock;

static double microseconds(Clock::time_point since) {
    return std::chrono::duration<double, std::micro>(Clock::now() - since).count();
}

static void print(std::vector<double> &times) {
    std::sort(times.begin(), times.end());
    const size_t last = times.size() - 1;
    std::printf(" %.3f %.3f %.3f", times[0], times[last / 2], times[last * 999 / 1000]);
}

int main(int count, char **arguments) {
    if (count != 5) return 2;
    const int block = std::atoi(arguments[3]), blocks = std::atoi(arguments[4]);
    nam::activations::Activation::disable_fast_tanh(); // both exact
    auto theirs = nam::get_dsp(std::filesystem::path(arguments[1]));
    theirs->Reset(theirs->GetExpectedSampleRate(), block);

    rnnrt_error error;
    rnnrt_plan *plan;
    rnnrt_stream *stream;
    if (rnnrt_load(&plan, arguments[2], &error) ||
        rnnrt_stream_create(&stream, plan, 1, 0, false, true, &error)) {
        std::fprintf(stderr, "%s\n", error.text ? error.text : "the capture cannot be streamed");
        return 1;
    }

    std::mt19937 random(1);
    std::normal_distribution<float> noise(0, 0.1f);
    std::vector<NAM_SAMPLE> x(block), y(block);
    std::vector<float> ours_x(block), ours_y(block);
    std::vector<double> ours_times, their_times;
    double apart = 0;
    for (int i = 0; i < blocks; i++) {
        for (int k = 0; k < block; k++) x[k] = ours_x[k] = noise(random);
        // both find the cache as the other left it, as a plug-in finds it in a host
        for (int turn = 0; turn < 2; turn++) {
            const auto start = Clock::now();
            if ((turn + i) % 2) {
                rnnrt_array in = {ours_x.data(), 1, 1, size_t(block), 1};
                rnnrt_array out = {ours_y.data(), 1, 1, size_t(block), 1};
                if (rnnrt_stream_push(stream, &in, &out, nullptr, &error)) return 1;
                ours_times.push_back(microseconds(start));
            } else {
                NAM_SAMPLE *in = x.data(), *out = y.data();
                theirs->process(&in, &out, block);
                their_times.push_back(microseconds(start));
            }
        }
        for (int k = 0; k < block; k++) apart = std::max(apart, std::fabs(double(y[k]) - ours_y[k]));
    }
    std::printf("%.3g", apart);
    print(ours_times);
    print(their_times);
    std::printf("\n");
}
