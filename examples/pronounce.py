"""How English words are spoken, phoneme by phoneme, with the network of g2p-en.

    python tools/fetch_models.py g2p_en.npz
    python examples/pronounce.py models/g2p_en.npz cython streaming

An encoder reads the letters; its last state starts the stream of a decoder, which takes the phoneme that it
said last and says the next, until it says that the word is over. Text generators run in the same way.
"""

import argparse

import numpy as np

import rnnrt

_GRU = "GRU weight_ih_l0={0}_w_ih weight_hh_l0={0}_w_hh bias_ih_l0={0}_b_ih bias_hh_l0={0}_b_hh"
ENCODER = f"Embedding weight=enc_emb\nenc: {_GRU.format('enc')}\nignore dec_*\nignore fc_*"
DECODER = f"Embedding weight=dec_emb\ndec: {_GRU.format('dec')}\nLinear weight=fc_w bias=fc_b\nignore enc_*"

_VOWELS = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
_OTHERS = ("B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N", "NG", "P", "R", "S", "SH", "T")
_OTHERS += ("TH", "UW", "V", "W", "Y", "Z", "ZH")
#: Padding, unknown, start and end come before the phonemes of the ARPAbet with the stress of vowels.
PHONEMES = [*4 * [None], *sorted([*_OTHERS, *(f"{vowel}{stress}" for vowel in _VOWELS for stress in "012")])]
START, END, LONGEST = 2, 3, 20


def phonemes(encoder, decoder, word):
    """The phonemes of a word of letters a to z, as they are found."""
    letters = [3 + ord(letter) - ord("a") for letter in word]
    stream = decoder.stream(initial_state={"dec.l0/h": encoder(np.array([*letters, 2]))[-1]})
    token = START
    for _ in range(LONGEST):
        token = int(stream.step(np.array(token)).argmax())
        if token == END:
            return
        yield PHONEMES[token]


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="g2p_en.npz")
    parser.add_argument("words", nargs="+", metavar="WORD")
    options = parser.parse_args(arguments)
    for word in options.words:
        if not (word.isascii() and word.isalpha()):
            parser.error(f"a word is letters from a to z: {word!r}")
    encoder, decoder = (rnnrt.from_torch(options.model, spec) for spec in (ENCODER, DECODER))
    for word in options.words:
        print(word, end=":", flush=True)
        for phoneme in phonemes(encoder, decoder, word.lower()):
            print("", phoneme, end="", flush=True)
        print()


if __name__ == "__main__":
    main()
