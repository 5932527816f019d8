// amp MODEL.rnnrt IN.wav OUT.wav: a WAV file through the capture of an amplifier.
#include "rnnrt.h"
#include "wav.hpp"
#include <cstdio>

int main(int count, char **words) {
    rnnrt_plan *plan = nullptr;
    rnnrt_stream *stream = nullptr;
    rnnrt_error error;
    rnnrt_port in_port{}, out_port{};
    int status = count == 4 ? rnnrt_load(&plan, words[1], &error) : RNNRT_NO_FILE;
    if (!status && rnnrt_plan_input(plan, 0, &in_port) && rnnrt_plan_output(plan, 0, &out_port))
        if (rnnrt_plan_inputs(plan) > 1 || in_port.width != 1 || out_port.width != 1)
            return std::fprintf(stderr, "amp: the network does not take one channel to one channel\n"), 1;
    if (!status) status = rnnrt_stream_create(&stream, plan, 1, 0, false, false, &error);
    if (status) return std::fprintf(stderr, "amp: %s\n", rnnrt_status_text(status)), 1;
    Sound in = read_wav(words[2]), out = in;
    rnnrt_array x = {in.samples.data(), 1, 1, in.samples.size(), 1};
    rnnrt_array y = {out.samples.data(), 1, 1, x.frames, 1};
    status = rnnrt_stream_push(stream, &x, &y, nullptr, &error);
    rnnrt_array rest = {y.data + y.frames, 1, 1, x.frames - y.frames, 1}; // what a look-ahead held back
    if (!status) status = rnnrt_stream_flush(stream, &rest, nullptr, &error);
    rnnrt_stream_free(stream);
    rnnrt_plan_free(plan);
    return status ? std::fprintf(stderr, "amp: %s\n", rnnrt_status_text(status)),
           1      : (write_wav(words[3], out), 0);
}
