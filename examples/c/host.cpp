// host MODEL.rnnrt IN.wav OUT.wav: what a digital audio workstation does with processor.hpp, in blocks of
// changing length, on two channels that hold the same.
#include "processor.hpp"
#include "wav.hpp"
#include <cstdio>

int main(int count, char **words) try {
    if (count != 4) throw std::runtime_error("host MODEL.rnnrt IN.wav OUT.wav");
    std::ifstream file(words[1], std::ios::binary);
    const std::vector<char> bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    const int most = 512, blocks[] = {most, 1, 64, 333};
    AmpProcessor processor(bytes.data(), bytes.size());
    Sound left = read_wav(words[2]), right = left;
    if (processor.modelSampleRate() && processor.modelSampleRate() != left.rate)
        std::fprintf(stderr, "host: the capture was made at %.0f Hz\n", processor.modelSampleRate());
    processor.prepareToPlay(2, most);
    size_t at = 0;
    for (int k = 0; at < left.samples.size(); k++) {
        const int n = static_cast<int>(std::min<size_t>(blocks[k % 4], left.samples.size() - at));
        float *const channels[] = {left.samples.data() + at, right.samples.data() + at};
        processor.processBlock(channels, 2, n);
        at += n;
    }
    if (left.samples != right.samples) throw std::runtime_error("the channels differ");
    write_wav(words[3], left);
    return std::printf("latency %d\n", processor.getLatencySamples()), 0;
} catch (const std::exception &error) { return std::fprintf(stderr, "%s\n", error.what()), 1; }
