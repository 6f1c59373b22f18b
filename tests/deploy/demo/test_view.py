"""The live view."""

import io

import pytest
from rich.console import Console

from deploy.demo.hearing import take_in
from deploy.demo.record import Record, RolloutRecord, Told
from deploy.demo.view import _Lines, number, render, rollout_words, seconds_left


def _text(record: Record, now: float) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(render(record, now, 5))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_every_node_and_every_round_has_its_row(record: Record) -> None:
    text = _text(record, 150.0)

    rows = {line.split()[1]: line for line in text.splitlines() if line.startswith("│") and len(line.split()) > 2}
    assert rows["press-02"].split()[2:8] == ["796", "12,736", "119", "500", "1", "steel-0006"]
    assert rows["0"].split()[2:10] == ["48", "0.220", "0.160", "0.100", "steel-0002", "3", "of", "3"]
    assert "trainer ended (status -9) and is started again" in text


def test_an_empty_record_can_be_shown() -> None:
    assert "starting" in _text(Record(), 0.0)


def test_no_time_left_is_promised_before_a_round_is_over(story: list[Told]) -> None:
    record = Record()
    for told in story:
        if told.at < 40:
            take_in(record, told)

    assert seconds_left(record, 40.0, 5) is None


def test_the_time_left_shrinks_with_the_time_gone(story: list[Told]) -> None:
    record = Record()
    for told in story:
        if told.at < 100:
            take_in(record, told)

    early, late = seconds_left(record, 100.0, 5), seconds_left(record, 110.0, 5)

    assert early is not None
    assert late == pytest.approx(early - 10)


def test_without_a_terminal_every_line_is_printed_once(story: list[Told]) -> None:
    console = Console(file=io.StringIO(), width=200)
    lines, record = _Lines(console), Record()
    for told in story:
        take_in(record, told)
        lines(record, told.at)

    assert isinstance(console.file, io.StringIO)
    printed = [line.split("] ", 1)[1] for line in console.file.getvalue().splitlines()]
    assert len(printed) == len(set(printed))
    assert "round 4: 240 labels, mIoU winnow 0.540, random stream 0.480, random pool 0.420" in printed
    assert printed.count("trainer ended (status -9) and is started again") == 1


def test_a_number_that_is_none_is_a_dash() -> None:
    assert [number(None), number(float("nan")), number(0.12345)] == ["-", "-", "0.123"]


def test_a_rollout_is_told_in_words() -> None:
    assert rollout_words(None) == ""
    assert rollout_words(RolloutRecord(1, "r", 5.0, done=("a",), meant=3)) == "1 of 3 nodes"
    assert rollout_words(RolloutRecord(1, "r", 5.0, done=("a",), meant=1, ended=9.0)) == "1 of 1 nodes, 4 s"
    assert rollout_words(RolloutRecord(1, "r", 5.0, ended=9.0, error="no word from n2")) == "stopped: no word from n2"
