"""``python -m edge_agent.inspection AGENT.toml --boot ID [--node NAME] [--until-done] [--after CAMERA=FRAME]``: what the supervisor starts."""

import os
import sys

if __name__ == "__main__":
    # Before numpy is loaded: the filter's products are small, and threads that spin for them take the cores
    # of the graphs, whose number of threads agent.toml sets.
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    from edge_agent.inspection.entry import main

    sys.exit(main())
