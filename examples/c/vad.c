/* vad MODEL.rnnrt SAMPLES.f32: the probability of speech in every 32 ms of a recording, with Silero VAD.
 *
 *     rnnrt convert silero_vad.onnx -o vad.rnnrt --state state=stateN --constant sr=16000 \
 *         --shape input=,576
 *
 * SAMPLES.f32: float32, one channel, 16,000 a second. A frame is 512 new samples after the last 64 of the
 * frame before it. */
#include <rnnrt.h>
#include <stdio.h>
#include <string.h>

enum { CONTEXT = 64, NEW = 512 };

int main(int count, char **words) {
    struct rnnrt_plan *plan = NULL;
    struct rnnrt_stream *stream = NULL;
    struct rnnrt_error error = {0};
    struct rnnrt_port in = {0};
    float frame[CONTEXT + NEW] = {0}, speech;
    FILE *samples = count == 3 ? fopen(words[2], "rb") : NULL;
    if (!samples) return fprintf(stderr, "vad MODEL.rnnrt SAMPLES.f32\n"), 2;
    int status = rnnrt_load(&plan, words[1], &error);
    if (!status) status = rnnrt_stream_create(&stream, plan, 1, 0, false, true, &error);
    if (!status && (!rnnrt_plan_input(plan, 0, &in) || in.width != CONTEXT + NEW))
        return fprintf(stderr, "vad: a frame of this network has %zu samples\n", in.width), 1;
    while (!status && fread(frame + CONTEXT, sizeof *frame, NEW, samples) == NEW) {
        int made = rnnrt_stream_step(stream, frame, &speech, &error);
        if (made < 0) status = made;
        else if (made) printf("%.9g\n", (double)speech);
        memmove(frame, frame + NEW, CONTEXT * sizeof *frame);
    }
    if (status)
        fprintf(stderr, "vad: %s%s%s\n", rnnrt_status_text(status), error.text ? ": " : "",
                error.text ? error.text : "");
    rnnrt_stream_free(stream);
    rnnrt_plan_free(plan);
    fclose(samples);
    return status != 0;
}
