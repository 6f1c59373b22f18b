import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from shared.errors import InputError
from shared.images import UnreadImage, decode_image, decode_mask, encode_image, encode_mask, image_size

GREY = np.random.default_rng(3).integers(0, 256, (20, 30), dtype=np.uint8)
COLOUR = np.random.default_rng(4).integers(0, 256, (20, 30, 3), dtype=np.uint8)
COLOURS = ["#000000", "#ff0000", "#00ff00"]


def written(picture: Pillow.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def png(width: int, height: int, *, bits: int, kind: int, rows: bytes) -> bytes:
    """Write a PNG by hand: for sizes and depths that Pillow does not write."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF"])
def test_a_lossless_image_comes_back_pixel_by_pixel(form: str) -> None:
    grey = decode_image(written(Pillow.fromarray(GREY), form), what="x", channels=1)
    colour = decode_image(written(Pillow.fromarray(COLOUR), form), what="x", channels=3)

    assert np.array_equal(grey[..., 0], GREY)
    assert np.array_equal(colour, COLOUR)


def test_grey_and_colour_are_converted_into_each_other() -> None:
    grey, colour = encode_image(GREY), encode_image(COLOUR)

    assert np.array_equal(decode_image(grey, what="x", channels=3), np.repeat(GREY[..., None], 3, axis=2))
    luma = (COLOUR @ np.array([0.299, 0.587, 0.114])).round()
    assert decode_image(colour, what="x", channels=1)[..., 0] == pytest.approx(luma, abs=1)


def test_a_jpeg_crop_is_close_to_what_was_cut() -> None:
    smooth = np.add.outer(np.arange(32), np.arange(32)).astype(np.uint8)[..., None]

    back = decode_image(encode_image(smooth, form="jpeg", quality=95), what="x", channels=1)

    assert np.abs(back.astype(int) - smooth).max() <= 4


@pytest.mark.parametrize("data", [b"", b"hello", b"GIF89a" + bytes(50), b"%PDF-1.4", b"<svg/>"])
def test_what_is_no_image_is_refused_with_what_is_read(data: bytes) -> None:
    with pytest.raises(InputError, match=r"^frame-7\.png: not an image; expected one of JPEG, PNG, BMP, TIFF$"):
        decode_image(data, what="frame-7.png", channels=1)


def test_a_truncated_image_is_refused_by_name() -> None:
    data = encode_image(GREY)

    with pytest.raises(InputError, match=r"^frame-7: broken image: "):
        decode_image(data[: len(data) // 2], what="frame-7", channels=1)


@given(st.integers(0, 2**32))
def test_damaged_images_are_refused_or_read_but_never_anything_else(seed: int) -> None:
    chance = np.random.default_rng(seed)
    form = str(chance.choice(["JPEG", "PNG", "BMP", "TIFF"]))
    data = bytearray(written(Pillow.fromarray([GREY, COLOUR][chance.integers(2)]), form))
    for _ in range(chance.integers(1, 7)):
        data[int(len(data) * chance.random() ** 2)] = chance.integers(256)

    for read in (
        lambda: decode_image(bytes(data), what="x", channels=1),
        lambda: decode_image(bytes(data), what="x", channels=3),
        lambda: decode_mask(bytes(data), what="x"),
        lambda: image_size(bytes(data), what="x"),
    ):
        try:
            read()
        except InputError as error:
            assert str(error).startswith("x: ")  # noqa: PT017  # an image is as good as a refusal


def refusal(read: Callable[[], object]) -> str | None:
    try:
        read()
    except InputError as error:
        return str(error)
    return None


def test_what_is_proven_without_being_kept_is_what_opens_in_full() -> None:
    """A crop is proven when it comes and opened much later: the two must agree on every damage, whatever the format."""
    chance = np.random.default_rng(11)
    smooth = np.repeat(np.repeat(chance.integers(0, 256, (8, 12, 3), dtype=np.uint8), 8, axis=0), 8, axis=1)
    whole = [
        written(Pillow.fromarray(image), form, **options)
        for image in (smooth, smooth[..., 0])
        for form, options in (("JPEG", {"quality": 90}), ("JPEG", {"quality": 95, "subsampling": 0}), ("PNG", {}))
    ]
    agreed = {True: 0, False: 0}

    for number in range(1500):
        data = bytearray(whole[number % len(whole)])
        for _ in range(chance.integers(1, 4)):
            data[chance.integers(len(data))] = chance.integers(256)
        if chance.random() < 0.3:
            del data[chance.integers(2, len(data)) :]
        proven = refusal(lambda: UnreadImage(bytes(data), what="x").prove())  # noqa: B023  # called at once
        opened = refusal(lambda: decode_image(bytes(data), what="x", channels=3))  # noqa: B023  # called within its turn
        assert (proven is None) == (opened is None), (number, proven, opened)
        agreed[opened is None] += 1

    assert min(agreed.values()) > 300


def test_a_progressive_jpeg_is_known_by_its_header() -> None:
    picture = Pillow.fromarray(COLOUR)

    assert UnreadImage(written(picture, "JPEG", progressive=True), what="x").is_progressive
    assert not UnreadImage(written(picture, "JPEG"), what="x").is_progressive
    assert not UnreadImage(written(picture, "PNG"), what="x").is_progressive


def test_a_picture_that_unpacks_to_gigabytes_is_refused_by_its_header() -> None:
    bomb = png(60_000, 60_000, bits=8, kind=0, rows=bytes(100))

    for read in (lambda: decode_image(bomb, what="bomb", channels=1), lambda: decode_mask(bomb, what="bomb")):
        with pytest.raises(InputError, match="bomb: 60000 x 60000 pixels, the limit is 64000000"):
            read()


def test_the_limit_counts_pixels_and_the_last_one_is_allowed() -> None:
    data = encode_image(GREY)

    assert decode_image(data, what="x", channels=1, max_pixels=600).shape == (20, 30, 1)
    with pytest.raises(InputError, match="20 x 30 pixels, the limit is 599"):
        decode_image(data, what="x", channels=1, max_pixels=599)


def test_samples_of_more_than_eight_bits_are_refused_instead_of_cut_off() -> None:
    deep = written(Pillow.fromarray(np.full((8, 8), 3000, dtype=np.uint16)), "PNG")

    with pytest.raises(InputError, match=r"more than 8 bits \(mode I;16\); convert the image to 8 bits"):
        decode_image(deep, what="x", channels=1)
    with pytest.raises(InputError, match="expected an 8-bit index PNG"):
        decode_mask(deep, what="x")


@pytest.mark.parametrize(("kind", "samples"), [(2, 3), (6, 4), (4, 2)])
def test_deep_colours_are_refused_as_deep_grey_is(kind: int, samples: int) -> None:
    row = b"\0" + bytes(2 * samples * 8)
    deep = png(8, 8, bits=16, kind=kind, rows=8 * row)

    for channels in (1, 3):
        with pytest.raises(InputError, match=r"x: samples of more than 8 bits \(mode \w+;16B\); convert the image"):
            decode_image(deep, what="x", channels=channels)
    with pytest.raises(InputError, match="more than 8 bits"):
        UnreadImage(deep, what="x").prove()

    assert decode_image(png(8, 8, bits=8, kind=2, rows=8 * bytes(25)), what="x", channels=3).shape == (8, 8, 3)


def test_a_mask_comes_back_value_by_value() -> None:
    mask = np.array([[0, 1, 2], [2, 255, 0]], dtype=np.uint8)

    assert np.array_equal(decode_mask(encode_mask(mask, COLOURS), what="x"), mask)
    assert np.array_equal(decode_mask(encode_image(mask), what="x"), mask)


def test_a_mask_is_seen_in_the_classes_colours_with_ignore_in_white() -> None:
    mask = np.array([[0, 1, 2, 255]], dtype=np.uint8)

    seen = decode_image(encode_mask(mask, COLOURS), what="x", channels=3)

    assert seen.tolist() == [[[0, 0, 0], [255, 0, 0], [0, 255, 0], [255, 255, 255]]]


def test_a_black_and_white_mask_has_the_values_zero_and_one() -> None:
    mask = np.array([[False, True], [True, True]])

    assert decode_mask(written(Pillow.fromarray(mask), "PNG"), what="x").tolist() == [[0, 1], [1, 1]]


@pytest.mark.parametrize(("bits", "row"), [(2, 0b00_01_10_11), (4, 0x03)])
def test_a_grey_mask_of_few_bits_keeps_the_values_that_were_painted(bits: int, row: int) -> None:
    width = 8 // bits
    data = png(width, 1, bits=bits, kind=0, rows=bytes([0, row]))

    expected = [(row >> (8 - bits * (place + 1))) & (2**bits - 1) for place in range(width)]
    assert decode_mask(data, what="x").tolist() == [expected]


@pytest.mark.parametrize(
    ("picture", "form", "said"),
    [
        (Pillow.fromarray(COLOUR), "PNG", "PNG in mode RGB"),
        (Pillow.fromarray(COLOUR).convert("RGBA"), "PNG", "PNG in mode RGBA"),
        (Pillow.fromarray(GREY).convert("LA"), "PNG", "PNG in mode LA"),
        (Pillow.fromarray(GREY), "JPEG", "JPEG in mode L"),
        (Pillow.fromarray(GREY), "BMP", "BMP in mode L"),
    ],
)
def test_a_mask_that_is_no_index_png_is_refused_not_guessed(picture: Pillow.Image, form: str, said: str) -> None:
    with pytest.raises(InputError, match=f"^m: {said}; expected an 8-bit index PNG"):
        decode_mask(written(picture, form), what="m")


def test_the_size_is_read_from_the_header_alone() -> None:
    data = encode_image(GREY)

    assert image_size(data[:60], what="x") == (20, 30)
