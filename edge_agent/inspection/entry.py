"""The inspection process from its command line to its exit status."""

import argparse
import os
from pathlib import Path

from edge_agent.child import heed_the_supervisor_alone
from edge_agent.inspection.process import Inspection
from edge_agent.log import LOG, set_up_log
from shared.clock import SystemClock
from shared.errors import ConfigError, WinnowError


def main() -> int:
    """Run the process and return its exit status: ``EX_CONFIG`` where no release is to blame, only the node's files."""
    parser = argparse.ArgumentParser(prog="edge_agent.inspection")
    parser.add_argument("agent_toml", type=Path)
    parser.add_argument("--boot", required=True)
    parser.add_argument("--node", help="what the log says until the file was read")
    parser.add_argument("--until-done", action="store_true")
    parser.add_argument("--after", action="append", default=[], metavar="CAMERA=FRAME")
    options = parser.parse_args()
    # The supervisor ends its children in order; what a terminal or systemd sends to all of them must not end them first.
    heed_the_supervisor_alone()
    # Whatever a library prints belongs to the log, not between the messages.
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    source = os.fdopen(os.dup(0), "rb")
    set_up_log(node=options.node or options.agent_toml.stem, part="inspection")
    try:
        inspection = Inspection(
            options.agent_toml,
            boot=options.boot,
            until_done=options.until_done,
            clock=SystemClock(),
            after={camera: int(frame) for camera, _, frame in (seen.partition("=") for seen in options.after)},
        )
    except WinnowError as error:
        LOG.error("%s", error)
        return os.EX_CONFIG if isinstance(error, ConfigError) else 1
    set_up_log(node=inspection.node, part="inspection")
    return inspection.run(source, sink)
