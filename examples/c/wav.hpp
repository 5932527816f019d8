// WAV files of one channel, 16-bit PCM or float32: as much as the examples need.
#pragma once
#include <cstdint>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

struct Sound {
    std::vector<float> samples;
    uint32_t rate = 0;
};

inline Sound read_wav(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    char head[12], chunk[8];
    if (!file.read(head, 12) || std::memcmp(head, "RIFF", 4) || std::memcmp(head + 8, "WAVE", 4))
        throw std::runtime_error(path + " is not a WAV file");
    Sound sound;
    uint16_t kind = 0, channels = 0, bits = 0;
    while (file.read(chunk, 8)) {
        uint32_t size;
        std::memcpy(&size, chunk + 4, 4);
        std::vector<char> data(size);
        if (!file.read(data.data(), size)) break;
        if (!std::memcmp(chunk, "fmt ", 4) && size >= 16) {
            std::memcpy(&kind, &data[0], 2), std::memcpy(&channels, &data[2], 2);
            std::memcpy(&sound.rate, &data[4], 4), std::memcpy(&bits, &data[14], 2);
        } else if (!std::memcmp(chunk, "data", 4)) {
            if (channels != 1 || !((kind == 1 && bits == 16) || (kind == 3 && bits == 32)))
                throw std::runtime_error(path + " is neither 16-bit PCM nor float32, of one channel");
            sound.samples.resize(size / (bits / 8));
            for (size_t i = 0; i < sound.samples.size(); i++) {
                int16_t sample;
                if (kind == 3) std::memcpy(&sound.samples[i], &data[4 * i], 4);
                else std::memcpy(&sample, &data[2 * i], 2), sound.samples[i] = sample / 32768.0f;
            }
            return sound;
        }
        if (size % 2) file.ignore(1);
    }
    throw std::runtime_error(path + " ends early");
}

inline void write_wav(const std::string &path, const Sound &sound) {
    const uint32_t bytes = static_cast<uint32_t>(4 * sound.samples.size());
    const uint32_t words[] = {36 + bytes, 16, 1u << 16 | 3, sound.rate, 4 * sound.rate, 32u << 16 | 4, bytes};
    const char *const names[] = {"RIFF", "WAVEfmt ", "", "", "", "", "data"};
    std::ofstream file(path, std::ios::binary);
    for (int k = 0; k < 7; k++) {
        if (k != 1) file << names[k];
        file.write(reinterpret_cast<const char *>(&words[k]), 4);
        if (k == 0) file << names[1];
    }
    file.write(reinterpret_cast<const char *>(sound.samples.data()), bytes);
    if (!file) throw std::runtime_error(path + " cannot be written");
}
