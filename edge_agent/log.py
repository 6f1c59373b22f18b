"""The node's log: one event a line on standard error, with the node's and the process's name.

Info for a change of state, warning for anything dropped, error when a person must act.
"""

import logging
import sys
from typing import Final

from shared.console import plain

LOG: Final = logging.getLogger("winnow")


def set_up_log(*, node: str, part: str) -> None:
    """Send this process's log lines to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    # A second line in a message would look like an event of its own.
    form = logging.Formatter(f"%(asctime)s %(levelname)s node {node} {part}: %(line)s", "%Y-%m-%dT%H:%M:%S")
    handler.setFormatter(form)
    handler.addFilter(_one_line)
    LOG.handlers[:] = [handler]
    LOG.setLevel(logging.INFO)
    LOG.propagate = False


def _one_line(record: logging.LogRecord) -> bool:
    record.line = plain(" | ".join(record.getMessage().splitlines()), keep="")
    record.levelname = record.levelname.lower()
    return True
