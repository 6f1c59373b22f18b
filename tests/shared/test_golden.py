from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.codec import pack
from shared.errors import ReleaseError
from shared.golden import MAX_LABELLED, Golden, read_golden, read_labelled, write_golden, write_labelled

RNG = np.random.default_rng(5)
GOLDEN = Golden(
    tiles=RNG.integers(0, 256, (2, 32, 32, 1), dtype=np.uint8),
    score=RNG.random((2, 1, 1)).astype(np.float32),
    patches=RNG.integers(0, 256, (3, 16, 16, 1), dtype=np.uint8),
    embedding=np.eye(3, 4, dtype=np.float32),
)


def test_golden_tiles_read_back() -> None:
    back = read_golden(write_golden(GOLDEN), what="golden.bin")

    for name in ("tiles", "score", "patches", "embedding"):
        assert np.array_equal(getattr(back, name), getattr(GOLDEN, name))


def test_a_release_of_a_space_alone_has_patches_alone() -> None:
    back = read_golden(write_golden(replace(GOLDEN, tiles=None, score=None)), what="golden.bin")

    assert back.tiles is None
    assert back.score is None
    assert back.patches is not None


@pytest.mark.parametrize(
    "faulty",
    [
        replace(GOLDEN, score=None),
        replace(GOLDEN, patches=None),
        replace(GOLDEN, score=np.zeros((1, 1, 1), dtype=np.float32)),
        replace(GOLDEN, embedding=np.zeros((3, 2, 2), dtype=np.float32)),
        replace(GOLDEN, score=np.full((2, 1, 1), np.nan, dtype=np.float32)),
        replace(GOLDEN, tiles=np.zeros((0, 32, 32, 1), dtype=np.uint8), score=np.zeros((0, 1, 1), dtype=np.float32)),
    ],
)
def test_inputs_without_fitting_outputs_are_not_written(faulty: Golden) -> None:
    with pytest.raises(ReleaseError, match="it is not used"):
        write_golden(faulty)


@given(st.data())
def test_damaged_golden_tiles_are_refused_or_read_but_never_anything_else(data: st.DataObject) -> None:
    damaged = bytearray(write_golden(GOLDEN))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))

    for read in (read_golden, read_labelled):
        try:
            read(bytes(damaged), what="golden.bin")
        except ReleaseError as error:
            assert str(error).startswith("golden.bin: ")  # noqa: PT017  # tiles are as good as a refusal


def test_a_schema_this_version_does_not_know_is_refused() -> None:
    with pytest.raises(ReleaseError, match="schema 2, this version reads 1"):
        read_golden(msgspec.msgpack.encode({"schema": 2}), what="golden.bin")


def test_labelled_embeddings_read_back_at_unit_length() -> None:
    rows = RNG.normal(size=(20, 8))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)

    back = read_labelled(write_labelled(rows), what="labelled.bin")

    assert back == pytest.approx(rows, abs=2e-3)
    assert np.linalg.norm(back, axis=1) == pytest.approx(1, abs=1e-6)


def test_more_labelled_embeddings_than_a_node_keeps_are_not_written() -> None:
    assert len(read_labelled(write_labelled(np.ones((MAX_LABELLED, 2))), what="x")) == MAX_LABELLED
    with pytest.raises(ReleaseError, match=f"n at most {MAX_LABELLED}"):
        write_labelled(np.ones((MAX_LABELLED + 1, 2)))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 4), dtype=np.float16),
        np.full((2, 4), np.nan, dtype=np.float16),
        np.ones((2, 4), dtype=np.float32),
        np.ones(4, dtype=np.float16),
    ],
)
def test_labelled_embeddings_without_a_length_or_of_another_type_are_refused(array: np.ndarray) -> None:
    data = msgspec.msgpack.encode({"schema": 1, "embeddings": pack(array)})

    with pytest.raises(ReleaseError, match=r"^labelled\.bin: "):
        read_labelled(data, what="labelled.bin")
