"""The processes of a training: one, or those that torchrun or SLURM has started."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn

from edgenext.errors import EdgenextError, UsageError

TIMEOUT = timedelta(minutes=10)
"""How long a process waits for another one."""
PORT = "29500"
"""torch's, where SLURM's first node listens unless MASTER_PORT says otherwise."""


@dataclass(frozen=True)
class Processes:
    """This process among those of a training: `rank` of `world`, on its machine `local_rank`."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @property
    def writes(self) -> bool:
        """Whether this is the one process that writes files and prints."""
        return self.rank == 0

    def total(self, values: Tensor) -> Tensor:
        """The sum of a tensor over all processes."""
        if self.world > 1:
            distributed.all_reduce(values)
        return values

    def share_buffers(self, *networks: nn.Module) -> None:
        """Give all processes the first one's statistics of batch norms."""
        for buffer in (b for network in networks for b in network.buffers()):
            if self.world > 1:
                distributed.broadcast(buffer, src=0)

    def parallel(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The network with gradients averaged over all processes."""
        if self.world == 1:
            return network
        devices = [device.index] if device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(network, device_ids=devices)


def processes(environment: Mapping[str, str] = os.environ) -> Processes:
    """The processes that the environment of torchrun or `srun` describes; one without either.

    Raises:
        UsageError: the variables are no numbers, or contradict each other.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    if not set(names) <= environment.keys():
        names = ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")
        if not set(names) <= environment.keys() or "SLURM_STEP_ID" not in environment:
            return Processes()
    try:
        rank, world, local_rank = (int(environment[name]) for name in names)
    except ValueError as e:
        raise UsageError(f"{', '.join(names)} must be numbers: {e}") from e
    if not 0 <= rank < world:
        raise UsageError(f"{names[0]} is {rank}, but there are {world} processes ({names[1]})")
    return Processes(rank, world, local_rank)


@contextlib.contextmanager
def joined(group: Processes, device: torch.device) -> Iterator[None]:
    """A block in which the processes can exchange tensors: by nccl on GPUs, else by gloo.

    Raises:
        EdgenextError: another process cannot be reached, or has ended.
    """
    if group.world == 1:
        yield
        return
    if "MASTER_ADDR" not in os.environ and "SLURM_JOB_NODELIST" in os.environ:
        os.environ["MASTER_ADDR"] = first_node(os.environ["SLURM_JOB_NODELIST"])
        os.environ.setdefault("MASTER_PORT", PORT)
    try:
        distributed.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            rank=group.rank,
            world_size=group.world,
            timeout=TIMEOUT,
        )
        yield
    except (distributed.DistError, RuntimeError) as e:
        if isinstance(e, distributed.DistError) or "onnection" in str(e):
            raise EdgenextError(
                f"another of the {group.world} processes of this training has ended, or cannot be "
                f"reached: {str(e).splitlines()[0][:200]}",
                "Start all of them again with --resume",
            ) from e
        raise
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


def first_node(nodes: str) -> str:
    """The first of SLURM's nodes: `gpu[03-05,7],cpu1` is `gpu03`."""
    prefix, bracket, rest = nodes.split(",")[0].partition("[")
    return prefix + rest.split("-")[0].rstrip("]") if bracket else prefix
