"""The forgetful disk as a mounted file system: what runs as ``python -m tests.faults.amnesia_mount MOUNT``.

Its library calls it from one thread; the test's words come from another, over standard input.
"""

# ruff: noqa: ARG002  # the library gives more than a disk in memory needs

import errno
import json
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import mfusepy

from tests.faults.forgetful import Disk, File, Folder, PowerCutError


class Names(mfusepy.Operations):
    """The disk's operations by the names that the library calls."""

    use_ns = True

    def __init__(self) -> None:
        self.disk = Disk()
        self._lock = threading.Lock()
        self._open: dict[int, File] = {}
        self._next = 1

    def init(self, path: str) -> None:
        _say({"mounted": path == "/"})

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        with self._lock:
            entry = self._open[fh] if fh in self._open else self._find(path)
            if isinstance(entry, Folder):
                return {"st_mode": stat.S_IFDIR | entry.mode, "st_nlink": 2}
            size = len(entry.seen)
            return {
                "st_mode": stat.S_IFREG | entry.mode,
                "st_nlink": 1,
                "st_size": size,
                "st_blocks": -(-size // 512),
            }

    def readdir(self, path: str, fh: int) -> list[str]:
        with self._lock:
            entry = self._find(path)
            assert isinstance(entry, Folder)
            return [".", "..", *entry.seen]

    def create(self, path: str, mode: int, fi: object = None) -> int:
        with self._lock, _errors():
            folder, name = self.disk.parent(path)
            self.disk.change()
            made = File(mode=stat.S_IMODE(mode))
            folder.seen[name] = made
            self.disk.named(folder)
            return self._handle(made)

    def open(self, path: str, flags: int) -> int:
        with self._lock, _errors():
            entry = self._find(path)
            assert isinstance(entry, File)
            return self._handle(entry)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        with self._lock:
            return bytes(self._open[fh].seen[offset : offset + size])

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        with self._lock, _errors():
            self.disk.change()
            self._open[fh].write(offset, data)
            return len(data)

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        with self._lock, _errors():
            self.disk.change()
            entry = self._open[fh] if fh in self._open else self._find(path)
            assert isinstance(entry, File)
            entry.truncate(length)
            return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        with self._lock, _errors():
            self.disk.change()
            self._open[fh].sync()
            return 0

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        with self._lock, _errors():
            self.disk.change()
            entry = self._find(path)
            assert isinstance(entry, Folder)
            entry.sync()
            return 0

    def release(self, path: str, fh: int) -> int:
        with self._lock:
            del self._open[fh]
            return 0

    def unlink(self, path: str) -> int:
        with self._lock, _errors():
            folder, name = self.disk.parent(path)
            self.disk.change()
            del folder.seen[name]
            self.disk.named(folder)
            return 0

    def rmdir(self, path: str) -> int:
        return self.unlink(path)

    def mkdir(self, path: str, mode: int) -> int:
        with self._lock, _errors():
            folder, name = self.disk.parent(path)
            self.disk.change()
            folder.seen[name] = Folder(mode=stat.S_IMODE(mode))
            self.disk.named(folder)
            return 0

    def rename(self, old: str, new: str) -> int:
        with self._lock, _errors():
            (source, before), (target, after) = self.disk.parent(old), self.disk.parent(new)
            self.disk.change()
            target.seen[after] = source.seen.pop(before)
            self.disk.named(source)
            self.disk.named(target)
            return 0

    def chmod(self, path: str, mode: int) -> int:
        with self._lock:
            self._find(path).mode = stat.S_IMODE(mode)
            return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        return 0

    def utimens(self, path: str, times: object = None) -> int:
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        return {"f_bsize": 4096, "f_frsize": 4096, "f_blocks": 1 << 20, "f_bavail": 1 << 19, "f_bfree": 1 << 19}

    def obey(self, word: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            match word.pop("do"):
                case "arm":
                    self.disk.arm(**word)
                case "cut":
                    self.disk.cut()
                case "restore":
                    self.disk.restore()
            return {"off": self.disk.is_off, "changes": self.disk.changes}

    def _find(self, path: str) -> File | Folder:
        try:
            return self.disk.find(path)
        except KeyError:
            raise OSError(errno.ENOENT, path) from None

    def _handle(self, entry: File) -> int:
        self._next += 1
        self._open[self._next] = entry
        return self._next


def serve(mount: str) -> None:
    """Be the file system until it is unmounted."""
    names = Names()

    def listen() -> None:
        for line in sys.stdin:
            _say(names.obey(json.loads(line)))

    threading.Thread(target=listen, name="words", daemon=True).start()
    # Nothing is remembered by the kernel from one open to the next: after a cut it must look again.
    mfusepy.FUSE(
        names,
        mount,
        foreground=True,
        nothreads=True,
        hard_remove=True,
        attr_timeout=0,
        entry_timeout=0,
        negative_timeout=0,
        fsname="amnesia",
    )


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except PowerCutError:
        raise OSError(errno.EIO, "the power is off") from None
    except KeyError as error:
        raise OSError(errno.ENOENT, str(error)) from None


def _say(words: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve(sys.argv[1])
