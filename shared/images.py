"""Images as bytes: the one door to Pillow.

Only JPEG, PNG, BMP and TIFF are opened, never more than ``MAX_PIXELS``; whatever Pillow says of broken
bytes comes out as an ``InputError`` of one line.
"""

import io
import warnings
from typing import Final, Literal

import numpy as np
from PIL import Image as Pillow

from shared.errors import InputError
from shared.geometry import Image

MAX_PIXELS: Final = 64_000_000
_FORMATS: Final = ("JPEG", "PNG", "BMP", "TIFF")
#: Far above our own limit, so that ours speaks first.
Pillow.MAX_IMAGE_PIXELS = 4 * MAX_PIXELS


def decode_image(data: bytes, *, what: str, channels: int, max_pixels: int = MAX_PIXELS) -> Image:
    """Read an image as ``(h, w, channels)``; grey and colour are converted into each other."""
    picture = _open(data, what=what, max_pixels=max_pixels)
    try:
        array = np.asarray(picture.convert("L" if channels == 1 else "RGB"), dtype=np.uint8)
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"{what}: broken image: {error}") from None
    return array[..., None] if channels == 1 else array


def decode_mask(data: bytes, *, what: str, max_pixels: int = MAX_PIXELS) -> Image:
    """Read an index PNG (palette or 8-bit grey) as ``(h, w)`` class values; colours are refused, not guessed."""
    picture = _open(data, what=what, max_pixels=max_pixels)
    if picture.format != "PNG" or picture.mode not in {"P", "L", "1"}:
        raise InputError(
            f"{what}: {picture.format} in mode {picture.mode}; expected an 8-bit index PNG, one class value per pixel"
        )
    try:
        return np.asarray(picture if picture.mode != "1" else picture.convert("L"), dtype=np.uint8).copy()
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"{what}: broken image: {error}") from None


def image_size(data: bytes, *, what: str) -> tuple[int, int]:
    """Read height and width from the header alone."""
    picture = _open(data, what=what, max_pixels=MAX_PIXELS)
    return picture.height, picture.width


def encode_image(image: Image, *, form: Literal["jpeg", "png"] = "png", quality: int = 95) -> bytes:
    """Write ``(h, w)``, ``(h, w, 1)`` or ``(h, w, 3)`` as bytes."""
    pixels = image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image
    buffer = io.BytesIO()
    picture = Pillow.fromarray(np.ascontiguousarray(pixels))
    if form == "jpeg":
        picture.save(buffer, "JPEG", quality=quality)
    else:
        picture.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def encode_mask(mask: Image, colours: list[str]) -> bytes:
    """Write ``(h, w)`` class values as a palette PNG, each class in its colour and 255 in white."""
    palette = bytearray(768)
    for index, colour in enumerate(colours):
        palette[3 * index : 3 * index + 3] = bytes.fromhex(colour.removeprefix("#"))
    palette[765:768] = b"\xff\xff\xff"
    picture = Pillow.fromarray(np.ascontiguousarray(mask))
    picture.putpalette(bytes(palette))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _open(data: bytes, *, what: str, max_pixels: int) -> Pillow.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Pillow.DecompressionBombWarning)
            picture = Pillow.open(io.BytesIO(data), formats=_FORMATS)
    except (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning):
        raise InputError(f"{what}: more than {max_pixels} pixels; the image is not read") from None
    except (OSError, ValueError, SyntaxError):
        raise InputError(f"{what}: not an image; expected one of {', '.join(_FORMATS)}") from None
    if picture.width * picture.height > max_pixels:
        raise InputError(
            f"{what}: {picture.height} x {picture.width} pixels, the limit is {max_pixels}; the image is not read"
        )
    return picture
