"""A made-up voice: what networks of speech take for one."""

import numpy as np

RATE = 16000
_FORMANTS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))
_WIDTHS = (60, 90, 150)


def voice(seconds, pitch, seed=0):
    """Vowels that glide into one another: pulses through three resonances, loud and less loud, float32."""
    count = int(seconds * RATE)
    t = np.arange(count) / RATE
    phase = np.cumsum(pitch * (1 + 0.15 * np.sin(2 * np.pi * 0.7 * t))) / RATE
    source = np.diff(np.floor(phase), prepend=0)
    source += 0.01 * np.random.RandomState(seed).standard_normal(count)
    made, memory = np.zeros(count), np.zeros((3, 2))
    for k in range(count):
        which = t[k] / 0.16
        glide = min(1.0, max(0.0, (which % 1 - 0.6) / 0.4))
        vowels = _FORMANTS[int(which) % 5], _FORMANTS[(int(which) + 1) % 5]
        x = source[k]
        for j, width in enumerate(_WIDTHS):
            formant = (1 - glide) * vowels[0][j] + glide * vowels[1][j]
            r = np.exp(-np.pi * width / RATE)
            c = 2 * r * np.cos(2 * np.pi * formant / RATE)
            x = x * (1 - c + r * r) + c * memory[j, 0] - r * r * memory[j, 1]
            memory[j] = x, memory[j, 0]
        made[k] = x
    made *= 0.55 + 0.45 * np.sin(2 * np.pi * 3.1 * t)
    return (0.4 * made / np.abs(made).max()).astype(np.float32)


def talk():
    """Silence, a voice from 0.5 s to 2.0 s, silence, another from 3.0 s to 4.0 s, silence: 4.5 s."""
    silence = np.zeros(RATE // 2, np.float32)
    return np.concatenate([silence, voice(1.5, 120), silence, silence, voice(1.0, 210, 1), silence])
