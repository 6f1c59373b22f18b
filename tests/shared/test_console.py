import json
from collections.abc import Callable

import pytest

from shared.clock import ManualClock
from shared.console import Console


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_an_event_is_one_json_line_for_machines_and_a_sentence_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    Console(as_json=True).event("released", "round 1 released", line="strip", number=2)
    assert lines(capsys) == [{"event": "released", "line": "strip", "number": 2}]

    Console().event("released", "round [1] released", line="strip", number=2)
    assert capsys.readouterr().out == "round [1] released\n"


def test_a_listing_is_one_json_object_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    Console(as_json=True).table("nodes", ["node", "release"], [["n1", "strip-0001"], ["n2", None]])

    assert lines(capsys) == [{"node": "n1", "release": "strip-0001"}, {"node": "n2", "release": None}]


def test_a_listing_for_people_names_its_columns(capsys: pytest.CaptureFixture[str]) -> None:
    Console().table("nodes", ["node", "release"], [["n1", None]])

    out = capsys.readouterr().out
    assert "nodes" in out
    assert "node" in out
    assert "n1" in out
    assert "None" not in out


def test_warnings_do_not_mix_with_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    Console(as_json=True).warn("3 candidates dropped")

    captured = capsys.readouterr()
    assert captured.out == ""
    assert "3 candidates dropped" in captured.err


def test_what_a_terminal_would_obey_is_shown_as_an_escape(capsys: pytest.CaptureFixture[str]) -> None:
    """A name may clear the screen, turn letters round or go back to the line's beginning; ü and a sheet's end stay."""
    hostile = "a\x1b[2J\rb\x9b\u202ec\udcff\u00fc\u00a0\u65e5.png"
    shown = "a\\x1b[2J\\rb\\x9b\\u202ec\\udcff\u00fc\u00a0\u65e5.png"

    Console().event("file", f"# {hostile}\n\tnext")
    Console().warn(hostile)
    Console().table("files", ["name", "why"], [[f"{hostile}\nx", "red"]])
    Console(as_json=True).event("file", path=hostile)

    said = capsys.readouterr()
    first, second, *rest = said.out.splitlines()
    assert (first, second.strip(), said.err) == (f"# {shown}", "next", f"{shown}\n")
    assert any(f"{shown} x" in line for line in rest)
    assert "\x1b" not in said.out
    assert json.loads(rest[-1])["path"] == hostile


def test_progress_for_machines_says_each_percent_once(capsys: pytest.CaptureFixture[str]) -> None:
    with Console(as_json=True).progress("train", line="strip") as step:
        for done in range(1001):
            step(done, 1000)

    said = lines(capsys)
    assert len(said) == 101
    assert said[-1] == {"event": "progress", "work": "train", "done": 1000, "total": 1000, "line": "strip"}


def test_progress_of_nothing_divides_by_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Console(as_json=True).progress("train") as step:
        step(0, 0)

    assert lines(capsys)[0]["total"] == 0


def test_progress_for_people_leaves_the_answer_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with Console().progress("train") as step:
        step(1, 2)

    assert capsys.readouterr().out == ""


def test_progress_in_a_log_is_a_line_a_minute_with_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    """Forty of a hundred were done before: they say nothing of this run's pace."""
    clock = ManualClock()
    with Console(clock=clock).progress("seed 0") as step:
        for done in range(40, 101):
            step(done, 100)
            clock.advance(10)

    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[:3] == [
        "seed 0: 46 %, about 9 min left",
        "seed 0: 52 %, about 8 min left",
        "seed 0: 58 %, about 7 min left",
    ]
    assert len(said.err.splitlines()) == 9


def test_progress_in_a_log_that_stands_still_tells_no_time_left_and_short_work_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = ManualClock()
    with Console(clock=clock).progress("seed 0") as step:
        step(0, 1000)
        clock.advance(59)
        step(0, 1000)
        assert capsys.readouterr().err == ""
        clock.advance(61)
        step(0, 1000)
        clock.advance(60)
        step(1, 1000)

    assert capsys.readouterr().err.splitlines() == ["seed 0: 0 %", "seed 0: 0 %, about 49 h 57 min left"]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let the command's output be a terminal of so many columns."""

    def be(columns: int) -> None:
        for name, value in {"FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "xterm", "COLUMNS": str(columns)}.items():
            monkeypatch.setenv(name, value)

    return be


def test_a_listing_on_a_narrow_terminal_wraps_sentences_and_breaks_no_name_or_number(
    terminal: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    terminal(46)

    Console().table("fleet", ["line", "frames", "reason"], [["a-line-with-a-long-name", 1234567, "no frame"]])

    out = capsys.readouterr().out
    assert "│ a-line-with-a-long-name │ 1234567 │ no " in out
    assert "frames" in out
    assert max(len(line) for line in out.splitlines() if "│" in line) <= 46


def test_a_listing_too_wide_for_the_terminal_tells_one_row_after_the_other(
    terminal: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    terminal(30)
    row = ["press-01", "a-line-with-a-long-name-0001", 1234567, None]

    Console().table("fleet", ["node", "release", "frames", "state"], [row])

    # The terminal wraps it; a name that is copied from there is whole.
    told = "- press-01: release a-line-with-a-long-name-0001, frames 1234567"
    assert capsys.readouterr().out.splitlines()[1:] == [told]

    Console().table("release", ["fact", "value"], [["sha256", "0123456789abcdef0123456789"]])

    assert capsys.readouterr().out.split()[1:] == ["-", "sha256:", "0123456789abcdef0123456789"]


def test_a_listing_in_a_pipe_has_each_row_on_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")

    Console().table("fleet", ["node", "release"], [["press-01", "a-line-with-a-long-name-0001"]])

    assert "│ press-01 │ a-line-with-a-long-name-0001 │\n" in capsys.readouterr().out


def test_a_listing_too_wide_for_any_reader_of_a_pipe_tells_a_row_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    sentence = "a word and another " * 12

    Console().table("methods", ["id", "name", "result"], [["A1", sentence, sentence], ["A2", "short", None]])

    _, first, second = capsys.readouterr().out.splitlines()
    assert first == f"- A1: name {sentence}, result {sentence}"
    assert second == "- A2: name short"
