"""What stands between sound and a network: frames, spectra, mel bands and the way back, whole or streamed::

    mel = rnnrt.frontends.MelSpectrogram(
        16000, 512, 160, n_mels=64, mel_scale="htk", norm=None, padding="reflect"
    )
    features = mel(samples)           # (samples,) -> (frames, 64), (batch, samples) -> (batch, frames, 64)
    live = mel.stream()
    features = live.push(samples)     # any number of samples in, the frames that are complete out
    features = live.flush()           # what the end of the sequence completes

Samples and answers are float32 (spectra complex64), time stands before features as rnnrt's networks take
them. All arithmetic between is float64, rounded once, in an order that depends on the parameters of a front
alone: a stream answers the same bits as a whole call, however its input is cut, and a row of a batch as if
it were alone. NumPy is all that is needed. What needs the whole sequence, such as ``top_db`` of
``power_to_db`` or ``AmplitudeToDB``, has no place here.
"""

from .emphasis import PreEmphasis
from .framing import Frames
from .front import Front, FrontStream
from .logarithm import Log
from .mel import MFCC, MelSpectrogram, mel_filters
from .overlap_add import InverseSTFT
from .spectrum import STFT
from .windows import window

__all__ = [
    "MFCC",
    "STFT",
    "Frames",
    "Front",
    "FrontStream",
    "InverseSTFT",
    "Log",
    "MelSpectrogram",
    "PreEmphasis",
    "mel_filters",
    "window",
]
