import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ConfigError, WireError
from shared.identity import CandidateId, check_name, is_name, new_boot_id, sha256_hex

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9_-]{0,38}[a-z0-9])?", fullmatch=True)
BOOTS = st.from_regex(r"[0-9a-f]{8}", fullmatch=True)


@given(node=NAMES, boot=BOOTS, seq=st.integers(0, 10**12 - 1), crop=st.binary(max_size=50))
def test_an_id_reads_back_as_it_was_written(node: str, boot: str, seq: int, crop: bytes) -> None:
    made = CandidateId.make(node=node, boot=boot, seq=seq, crop=crop)

    assert CandidateId.parse(str(made)) == made


@given(st.text(max_size=80))
def test_what_parses_is_the_only_way_to_write_that_id(text: str) -> None:
    try:
        parsed = CandidateId.parse(text)
    except WireError:
        return

    assert str(parsed) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "press-03",
        "press-03-0a1b2c3d-7",
        "press-03-0a1b2c3d-7-0123456789abcdeF",
        "press-03-0a1b2c3d-07-0123456789abcdef",
        "press-03-0a1b2c3d-1234567890123-0123456789abcdef",
        "press/03-0a1b2c3d-7-0123456789abcdef",
        "press-03--0a1b2c3d-7-0123456789abcdef",
        "press-03-0a1b2c3d-7-0123456789abcdef\n",
        "press-03-0a1b2c3d-\u0667-0123456789abcdef",
    ],
)
def test_a_malformed_id_is_refused_by_its_text(text: str) -> None:
    with pytest.raises(WireError, match=r"expected <node>-<boot>-<seq>"):
        CandidateId.parse(text)


def test_a_node_whose_name_looks_like_an_id_keeps_its_name() -> None:
    parsed = CandidateId.parse("a-00000000-1-00000001-2-0123456789abcdef")

    assert (parsed.node, parsed.boot, parsed.seq) == ("a-00000000-1", "00000001", 2)


@given(NAMES)
def test_names_are_safe_in_topics_and_paths(name: str) -> None:
    assert is_name(name)
    assert not set(name) & set("/+#. \\")


@pytest.mark.parametrize("text", ["", "A", "-a", "a-", "a.b", "a/b", "a b", "é", "a" * 41, "a\n", "_trainer"])
def test_what_is_no_name_is_refused_with_what_it_was_for(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^node: "):
        check_name(text, what="node")


def test_boot_ids_differ_and_fit_in_a_candidate_id() -> None:
    boots = {new_boot_id() for _ in range(100)}

    assert len(boots) == 100
    assert all(CandidateId.parse(f"n-{boot}-0-0123456789abcdef").boot == boot for boot in boots)


def test_the_hash_is_sha256() -> None:
    assert sha256_hex(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
