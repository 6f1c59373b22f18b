"""Images as bytes: the one door to Pillow.

Only JPEG, PNG, BMP and TIFF are opened, never more than ``MAX_PIXELS``; whatever Pillow says of broken
bytes comes out as an ``InputError`` of one line.
"""

import io
from typing import Final, Literal

import numpy as np
from PIL import Image as Pillow
from PIL import ImageFile

from shared.errors import InputError
from shared.geometry import Image

MAX_PIXELS: Final = 64_000_000
_FORMATS: Final = ("JPEG", "PNG", "BMP", "TIFF")
#: What has more than 8 bits a sample; Pillow would cut such samples off at 255.
_DEEP: Final = frozenset({"I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
#: Where a PNG's header says how many bits a sample has.
_PNG_BITS: Final = 24
#: Pillow's own limit warns first and refuses later; ours, checked before any pixel is read, refuses at once.
Pillow.MAX_IMAGE_PIXELS = None


def decode_image(data: bytes, *, what: str, channels: int, max_pixels: int = MAX_PIXELS) -> Image:
    """Read an image as ``(h, w, channels)``; grey and colour are converted into each other."""
    picture = _open(data, what=what, max_pixels=max_pixels)
    _check_depth(picture, what=what)
    array = _pixels(picture, "L" if channels == 1 else "RGB", what=what)
    return array[..., None] if channels == 1 else array


def decode_mask(data: bytes, *, what: str, max_pixels: int = MAX_PIXELS) -> Image:
    """Read an index PNG (palette or grey, at most 8 bits) as ``(h, w)`` class values; colours are refused, not guessed."""
    picture = _open(data, what=what, max_pixels=max_pixels)
    if picture.format != "PNG" or picture.mode not in {"P", "L", "1"}:
        raise InputError(
            f"{what}: {picture.format} in mode {picture.mode}; expected an 8-bit index PNG, one class value per pixel"
        )
    values = _pixels(picture, None, what=what)
    # Pillow stretches grey of 2 and 4 bits to 0..255; the file's own samples are the class values.
    return values // (255 // (2 ** data[_PNG_BITS] - 1)) if picture.mode == "L" else values


def image_size(data: bytes, *, what: str) -> tuple[int, int]:
    """Read height and width from the header alone."""
    return UnreadImage(data, what=what).size


class UnreadImage:
    """An image of which only the header was read: what to look at before work is put into foreign bytes."""

    def __init__(self, data: bytes, *, what: str) -> None:
        self._what = what
        self._picture = _open(data, what=what, max_pixels=MAX_PIXELS)
        #: Height and width.
        self.size = (self._picture.height, self._picture.width)
        #: A progressive JPEG may ask for hundreds of passes over all of its pixels.
        self.is_progressive = bool(self._picture.info.get("progressive"))

    def prove(self) -> None:
        """Read the image whole without keeping it: what passes here opens in ``decode_image`` too.

        A JPEG is read at an eighth of its size. What can be broken in one are its markers and its Huffman codes, and
        these are read in full at any size; the arithmetic behind them, most of the time it takes, cannot fail.
        """
        _check_depth(self._picture, what=self._what)
        try:
            self._picture.draft("L", (1, 1))
            self._picture.load()
        except Exception as error:  # noqa: BLE001  # broken bytes raise whatever Pillow's parsers stumble over
            raise InputError(f"{self._what}: broken image: {error}") from None


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


def _check_depth(picture: ImageFile.ImageFile, *, what: str) -> None:
    # Colours keep the mode RGB, whatever their depth; how their samples lie in the file says it.
    stored = [tile.args[0] if isinstance(tile.args, tuple) else tile.args for tile in picture.tile]
    deep = [picture.mode] if picture.mode in _DEEP else [form for form in stored if ";16" in str(form)]
    if deep:
        raise InputError(f"{what}: samples of more than 8 bits (mode {deep[0]}); convert the image to 8 bits")


def _pixels(picture: Pillow.Image, mode: str | None, *, what: str) -> Image:
    try:
        return np.array(picture if mode is None else picture.convert(mode), dtype=np.uint8)
    except Exception as error:  # noqa: BLE001  # broken bytes raise whatever Pillow's parsers stumble over
        raise InputError(f"{what}: broken image: {error}") from None


def _open(data: bytes, *, what: str, max_pixels: int) -> ImageFile.ImageFile:
    try:
        picture = Pillow.open(io.BytesIO(data), formats=_FORMATS)
    except Exception:  # noqa: BLE001  # broken bytes raise whatever Pillow's parsers stumble over
        raise InputError(f"{what}: not an image; expected one of {', '.join(_FORMATS)}") from None
    if picture.width * picture.height > max_pixels:
        raise InputError(
            f"{what}: {picture.height} x {picture.width} pixels, the limit is {max_pixels}; the image is not read"
        )
    return picture
