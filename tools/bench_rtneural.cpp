// An LSTM of UNITS units and a Dense, one sample in and one out, on rnnrt and on RTNeural compiled for that
// size, in turns, for tools/bench_rtneural.py.
//
//     bench_rtneural NETWORK.json NETWORK.rnnrt FRAMES BLOCKS
//
// prints one line: the largest difference of the answers, then of rnnrt and of the other the best, median and
// 99.9th percentile of the time for FRAMES frames in microseconds. rnnrt pushes them; a single one is a step.
#include <RTNeural/RTNeural.h>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <random>
#include <vector>

#include "rnnrt.h"

using Clock = std::chrono::steady_clock;

static double microseconds(Clock::time_point since) {
    return std::chrono::duration<double, std::micro>(Clock::now() - since).count();
}

static void print(std::vector<double> &times, int calls) {
    std::sort(times.begin(), times.end());
    const size_t last = times.size() - 1;
    std::printf(" %.4f %.4f %.4f", times[0] / calls, times[last / 2] / calls,
                times[last * 999 / 1000] / calls);
}

int main(int count, char **arguments) {
    if (count != 5) return 2;
    const int frames = std::atoi(arguments[3]), blocks = std::atoi(arguments[4]);
    // static, and so zero: of 20 units its xsimd backend reads lanes that it never writes
    static RTNeural::ModelT<float, 1, 1, RTNeural::LSTMLayerT<float, 1, UNITS>,
                            RTNeural::DenseT<float, UNITS, 1>>
        theirs;
    std::ifstream file(arguments[1]);
    theirs.parseJson(file);
    theirs.reset();

    rnnrt_error error;
    rnnrt_plan *plan;
    rnnrt_stream *stream;
    if (rnnrt_load(&plan, arguments[2], &error) ||
        rnnrt_stream_create(&stream, plan, 1, 0, false, true, &error)) {
        std::fprintf(stderr, "%s\n", error.text ? error.text : "the network cannot be streamed");
        return 1;
    }

    // one look at the clock takes as long as a small step: several calls, one after the other, are timed as
    // one
    const int calls = std::max(1, 64 / frames), all = calls * frames;
    std::mt19937 random(1);
    std::normal_distribution<float> noise(0, 0.3f);
    std::vector<float> x(all), y(all), ours(all);
    std::vector<double> our_times, their_times;
    double apart = 0;
    for (int i = 0; i < blocks; i++) {
        for (float &sample : x) sample = noise(random);
        for (int turn = 0; turn < 2; turn++) {
            const auto start = Clock::now();
            if ((turn + i) % 2) {
                for (int k = 0; k < all; k += frames) {
                    rnnrt_array in = {x.data() + k, 1, 1, size_t(frames), 1};
                    rnnrt_array out = {ours.data() + k, 1, 1, size_t(frames), 1};
                    const int status = frames == 1 ? rnnrt_stream_step(stream, in.data, out.data, &error)
                                                   : rnnrt_stream_push(stream, &in, &out, nullptr, &error);
                    if (status < 0) return 1;
                }
                our_times.push_back(microseconds(start));
            } else {
                for (int k = 0; k < all; k++) y[k] = theirs.forward(&x[k]);
                their_times.push_back(microseconds(start));
            }
        }
        for (int k = 0; k < all; k++) apart = std::max(apart, std::fabs(double(y[k]) - ours[k]));
    }
    std::printf("%.3g", apart);
    print(our_times, calls);
    print(their_times, calls);
    std::printf("\n");
}
