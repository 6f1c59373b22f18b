"""One seed of a study in a process of its own: ``python -m trainer.experiment RECIPE DATA OUT SEED text|json ARMS [SOCKET]``.

DATA may be empty for a set that needs none, and ARMS, names with commas between them, for all. The socket is one that the parent holds the other end of: when that closes, the parent is gone and this process ends.
"""

import os
import socket
import sys
import threading
from pathlib import Path

from shared.console import Console
from shared.errors import WinnowError
from trainer.experiment.runner import run_one

_INTERRUPTED = 130
_ORPHANED = 143


def main(words: list[str]) -> int:
    """Hold the rounds of one seed and return the exit status; it is the parent that reads the person's options."""
    recipe, data, out, seed, form, arms, *watched = words
    for number in watched:
        threading.Thread(target=_end_with_parent, args=(int(number),), name="parent", daemon=True).start()
    try:
        run_one(
            Path(recipe),
            data=Path(data) if data else None,
            out=Path(out),
            seed=int(seed),
            console=Console(as_json=form == "json"),
            arms=arms.split(",") if arms else None,
        )
    except WinnowError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0


def _end_with_parent(number: int) -> None:
    with socket.socket(fileno=number) as parent:
        try:
            parent.recv(1)
        finally:
            # At once, from a thread: what is done is on disk, and a round under way is held again.
            os._exit(_ORPHANED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
