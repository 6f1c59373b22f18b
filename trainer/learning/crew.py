"""The processes that train one model together, as torchrun starts them: the one door to torch.distributed.

The first leads: it alone reads, writes, is told and decides. The others get what they learn from, learn along, and keep
nothing. Each takes its share of every minibatch; the gradients are those of the whole. Everything travels as plain bytes.
Batch statistics are those of the whole minibatch on GPUs, and of each share on CPUs, where torch has nothing better.
"""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from shared.errors import ConfigError

Module = TypeVar("Module", bound=nn.Module)
#: People may take their time to label while the others wait for the leader.
_PATIENCE: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Crew:
    """This process's place among those that train together; a process by itself is a crew of one."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Say whether this process reads, writes and decides."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """Return which of ``count`` samples are this process's; shares differ by one at most."""
        if count < self.size:
            raise ConfigError(
                f"learning.minibatch is {count} and {self.size} processes train together; each needs a sample: start fewer or raise it"
            )
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def summed(self, value: Tensor) -> Tensor:
        """Sum a value over all processes, in place; no gradient passes."""
        if self.size > 1:
            distributed.all_reduce(value)
        return value

    def agree(self, *, word: bool) -> bool:
        """Return the leader's word."""
        return bool(self.send(b"1" if word else b"")) if self.size > 1 else word

    def send(self, data: bytes) -> bytes:
        """Return the leader's bytes."""
        if self.size == 1:
            return data
        length = torch.tensor([len(data)])
        distributed.broadcast(length, src=0)
        if not int(length):
            return b""
        held = torch.frombuffer(bytearray(data), dtype=torch.uint8) if self.leads else _empty(int(length))
        distributed.broadcast(held, src=0)
        return data if self.leads else held.numpy().tobytes()

    def send_array(self, array: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the leader's array; the others give one of its shape to be filled."""
        if self.size > 1 and array.size:
            distributed.broadcast(torch.from_numpy(array), src=0)
        return array

    def together(self, module: Module) -> Module:
        """Wrap a module so that backward passes leave the mean of all processes' gradients."""
        if self.size == 1:
            return module
        on_gpu = next(module.parameters()).device.type == "cuda"
        held = nn.SyncBatchNorm.convert_sync_batchnorm(module) if on_gpu else module  # type: ignore[no-untyped-call]  # torch's stub has no types here
        # An encoder that is cut short keeps layers that never run.
        return DistributedDataParallel(held, find_unused_parameters=True)  # type: ignore[return-value]  # called as the module is


def here() -> Crew:
    """Return this process's place."""
    if not distributed.is_available() or not distributed.is_initialized():
        return Crew()
    return Crew(distributed.get_rank(), distributed.get_world_size())


@contextmanager
def gathered() -> Iterator[Crew]:
    """Gather the processes that torchrun started, each with a GPU of its own where there are any; alone without torchrun."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Crew()
        return
    backend = "gloo"
    if torch.cuda.is_available():
        local, found = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if local >= found:
            raise ConfigError(
                f"torchrun: process {local} of this machine, which has {found} GPUs; start one for each with --nproc-per-node {found}"
            )
        torch.cuda.set_device(local)
        backend = "cpu:gloo,cuda:nccl"
    distributed.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield here()
    finally:
        distributed.destroy_process_group()
        # Wrapped models hold the group in cycles, and its threads with it: one that wants Python while the interpreter
        # ends aborts the process, with all that was learned.
        gc.collect()


def _empty(length: int) -> Tensor:
    return torch.empty(length, dtype=torch.uint8)
