"""The node's log: an event a line, whatever a message holds."""

import pytest

from edge_agent.log import LOG, set_up_log


def test_an_event_is_one_line_that_no_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    before = LOG.handlers[:], LOG.level, LOG.propagate
    try:
        set_up_log(node="press-01", part="inspection")
        LOG.warning("%s: not an image", "a\n\x1b[2Jb\rc\u2028\u00fc.png")
    finally:
        LOG.handlers[:], LOG.level, LOG.propagate = before

    (line,) = capsys.readouterr().err.split("\n")[:-1]
    assert line.endswith("warning node press-01 inspection: a | \\x1b[2Jb | c | \u00fc.png: not an image")
