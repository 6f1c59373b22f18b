"""The errors of winnow, grouped by who must act.

    WinnowError
    ├── ConfigError    the operator: a file or an option says what cannot be
    ├── InputError     the operator: an image, a mask or a folder is not what was asked for
    ├── WireError      a peer: a message breaks the protocol
    ├── ReleaseError   the artifact: a release does not verify or does not run
    ├── LinkError      nobody: the network or a peer is away, the caller retries
    └── StateError     a stale command, or our bug

Every message reads ``subject: what is wrong, both values; what happens now or what to do``. Foreign
exceptions end at their library's door and come out as one of these.
"""


class WinnowError(Exception):
    """What the command line prints as one line; never a traceback."""


class ConfigError(WinnowError):
    """A configuration file or an option cannot be used as it stands."""

    def __init__(self, message: str, *, problems: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems or (message,)


class InputError(WinnowError):
    """Material given by a person (an image, a mask, a folder) is not usable; nothing was taken."""

    def __init__(self, message: str, *, problems: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems or (message,)


class WireError(WinnowError):
    """A peer sent what the protocol does not allow."""


class ReleaseError(WinnowError):
    """A release does not verify, or does not do what its manifest says."""


class LinkError(WinnowError):
    """A peer or the network is away; trying again later is right."""


class StateError(WinnowError):
    """A command does not fit the present state; the state is unchanged."""
