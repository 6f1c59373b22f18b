"""Python reads this at its start where the folder is in ``PYTHONPATH``: a courier that its supervisor starts has its witness too."""

import os
import sys
from pathlib import Path

LEDGER = "WINNOW_FAULTS_LEDGER"

if LEDGER in os.environ and "edge_agent.courier" in sys.orig_argv:
    from tests.faults.witness import watch_spool

    watch_spool(Path(os.environ[LEDGER]))
