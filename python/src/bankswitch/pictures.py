"""Pictures as files, and as arrays where Pillow is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors.numpy import save

from bankswitch.errors import InvalidCall
from bankswitch.wire import FormFile

#: A path, the bytes of a file, or pixels: uint8 [height, width] or [height, width, 1, 3 or 4].
PictureSource: TypeAlias = "str | PathLike[str] | bytes | NDArray[np.uint8]"

#: Pictures, archives and folders of them; or a model's input by its name, [images, …].
Images: TypeAlias = "PictureSource | Iterable[PictureSource] | Mapping[str, ArrayLike]"

#: What is taken out of a folder; a path that is named itself may be anything.
_EXTENSIONS = {".png", ".jpg", ".jpeg", ".webp", ".tar", ".tgz", ".gz", ".zip"}

_CHANNELS = (1, 3, 4)


def read_picture(source: PictureSource) -> tuple[str, bytes]:
    """
    The media type and the bytes of a picture. Raises InvalidCall for what is neither JPEG, PNG nor WebP, and OSError
    for a file that cannot be read.
    """
    content = _content(source)
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg", content
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png", content
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "image/webp", content
    raise InvalidCall(f"this is no picture: expected JPEG, PNG or WebP, received {content[:12]!r}")


def read_images(images: Images) -> list[FormFile]:
    """
    The files of a calibration's form. Folders are searched, in the order of names. Raises OSError for a path that
    cannot be read, and InvalidCall for arrays that are no pixels.
    """
    if isinstance(images, Mapping):
        tensors = {name: np.asarray(value, order="C") for name, value in images.items()}
        return [FormFile("tensors", "tensors.safetensors", save(tensors))]
    if isinstance(images, str | PathLike | bytes | np.ndarray):
        images = [images]
    sources = list(images)
    if len(sources) == 1 and isinstance(sources[0], str | PathLike) and str(sources[0]).endswith(".safetensors"):
        return [FormFile("tensors", str(sources[0]), Path(sources[0]).read_bytes())]
    files = []
    for number, source in enumerate(sources, 1):
        if isinstance(source, str | PathLike):
            files += [FormFile("images", str(path), path.read_bytes()) for path in _expanded(Path(source))]
        else:
            files.append(FormFile("images", f"image {number}", _content(source)))
    if not files:
        raise InvalidCall(f"there are no pictures in {images!r}; expected {', '.join(sorted(_EXTENSIONS))}")
    return files


def _expanded(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.rglob("*") if file.suffix.lower() in _EXTENSIONS and file.is_file())


def _content(source: PictureSource) -> bytes:
    if isinstance(source, bytes):
        return source
    if isinstance(source, np.ndarray):
        return encoded(source)
    return Path(source).read_bytes()


def encoded(pixels: NDArray[Any]) -> bytes:
    """Pixels as a PNG file. Raises InvalidCall for what are no pixels, or without Pillow."""
    if pixels.dtype != np.uint8:
        raise InvalidCall(
            f"the pixels are {pixels.dtype}; expected uint8, for values from 0 to 1: (255 * x).round().astype('uint8')"
        )
    if pixels.ndim != 2 and not (pixels.ndim == 3 and pixels.shape[2] in _CHANNELS):
        raise InvalidCall(
            f"the pixels have shape {list(pixels.shape)}; expected [height, width] or [height, width, channels] "
            "with 1, 3 or 4 channels, for channels first: x.transpose(1, 2, 0)"
        )
    file = BytesIO()
    _pillow().fromarray(pixels[:, :, 0] if pixels.shape[2:] == (1,) else pixels).save(file, "PNG")
    return file.getvalue()


def decoded(content: bytes) -> NDArray[Any]:
    """The pixels of a file, uint8 [height, width] or [height, width, channels]. Raises InvalidCall without Pillow."""
    return np.asarray(_pillow().open(BytesIO(content)))


def _pillow() -> Any:  # noqa: ANN401
    try:
        return import_module("PIL.Image")
    except ImportError as error:
        raise InvalidCall("arrays as pictures need Pillow: pip install pillow") from error
