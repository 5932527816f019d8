"""Files of torch.save, and zip files like them; the tensors that are read out of them."""

import io
import zipfile

from needs import need

from rnnrt.importers.torch.files import read_bytes, read_tensors, unwrap


def tensors_of(source, prefix="", where="stranger.pt", wanted=(), **options):
    read = read_bytes if isinstance(source, bytes) else read_tensors
    return unwrap(read(source, where, **options), prefix, wanted)


def saved(value, **options):
    torch = need("torch")
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def zipped(members, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()
