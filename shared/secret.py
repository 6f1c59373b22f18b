"""A password, which stands in a file of its own so that no configuration holds it."""

import stat
from pathlib import Path
from typing import Final

from shared.errors import ConfigError

#: The longest password that MQTT carries, and more than any camera takes.
_LONGEST_SECRET: Final = 65_535


def read_secret(path: Path) -> str:
    """Read a password file; refuse one that others can read."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            # A pipe would be waited for, for ever.
            raise ConfigError(f"{path}: not a regular file; the file must hold the password alone")
        with path.open(encoding="utf-8") as stream:
            text = stream.read(2 * _LONGEST_SECRET).strip()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; the file must hold the password alone") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not text in UTF-8; the file must hold the password alone") from None
    if mode & 0o077:
        raise ConfigError(f"{path}: mode lets others read it; run chmod 600 {path}")
    if not text or len(text.splitlines()) > 1 or len(text.encode()) > _LONGEST_SECRET:
        raise ConfigError(
            f"{path}: {len(text)} characters in {len(text.splitlines())} lines; expected the password alone, one line of up to {_LONGEST_SECRET}"
        )
    return text
