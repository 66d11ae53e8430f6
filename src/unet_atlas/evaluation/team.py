"""The processes of a launch, and the few things that they say to each other.

accelerate finds them (``accelerate launch``, one machine or several) and carries the messages, by
gloo between CPUs also where the models run on GPUs: the sums are float64 on the CPU, a lost process
is an exception here (NCCL ends the program without a word), and what the tests run is what runs on
a cluster. A process alone says nothing to anyone.

Upstream: accelerate, ``state.py`` and ``utils/operations.py``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import (
    InitProcessGroupKwargs,
    broadcast_object_list,
    gather_object,
    reduce,
)

from unet_atlas.errors import AtlasError

T = TypeVar("T")
PATIENCE = 21600.0  # seconds


class Together(AtlasError):
    """A fault that every process knows of: the first one says it for all."""


class Lost(AtlasError):
    """Another process ended, or did not answer in time."""


@dataclass(frozen=True)
class Team:
    """This process among ``world`` ones; by default alone.

    Attributes:
        rank: its place, 0 to world − 1.
        local: its place on its own machine.
        patience: seconds that it waits for the others. A healthy run needs more than the lead of
            its fastest process over its slowest, because blocks are dealt beforehand.
    """

    rank: int = 0
    world: int = 1
    local: int = 0
    patience: float = PATIENCE

    @property
    def first(self) -> bool:
        """Whether this is the process that writes tables and speaks for all."""
        return self.rank == 0

    def gather(self, items: Sequence[T]) -> list[T]:
        """Everyone's items, in the order of the ranks, for everyone."""
        return self._ask(gather_object, list(items)) if self.world > 1 else list(items)

    def total(self, array: np.ndarray) -> np.ndarray:
        """The sum of everyone's float64 arrays of one shape, for everyone."""
        if self.world == 1:
            return array
        return self._ask(reduce, torch.from_numpy(array), "sum").numpy()

    def share(self, value: T) -> T:
        """The first process's value, for everyone."""
        return self._ask(broadcast_object_list, [value])[0] if self.world > 1 else value

    def wait(self) -> None:
        """Go on when everyone has come here."""
        self.gather([])

    def _ask(self, exchange: Callable[..., Any], *values: Any) -> Any:
        try:
            return exchange(*values)
        except RuntimeError:  # gloo's: a closed connection, or no answer in time
            raise Lost(
                f"Another process ended, or did not answer within {self.patience:g} s; start the "
                "same command again, it goes on with what is there."
            ) from None


def join(patience: float = PATIENCE) -> Team:
    """This process in the launch that started it; alone without ``accelerate launch``.

    Raises:
        AtlasError: the patience is no time, or the processes can't find each other.
    """
    if not 1 <= patience <= 10**7:
        raise AtlasError(f"A patience of {patience:g} s can't be kept; give 1 to 10,000,000.")
    limits = InitProcessGroupKwargs("gloo", timeout=timedelta(seconds=patience))
    # accelerate refuses a backend for a process alone
    carrier = {"backend": limits.backend} if "LOCAL_RANK" in os.environ else {}
    try:
        state = PartialState(cpu=True, timeout=limits.timeout, **carrier)
    except (RuntimeError, ValueError) as error:  # torch.distributed's, and accelerate's own
        raise AtlasError(f"The processes can't find each other: {str(error)[:200]}") from None
    return Team(state.process_index, state.num_processes, state.local_process_index, patience)


def leave(team: Team) -> None:
    """Close the connections, where there are any."""
    if team.world > 1:
        torch.distributed.destroy_process_group()


def dealt(items: Sequence[T], rank: int, world: int) -> Sequence[T]:
    """What is dealt to one of ``world`` players: items rank, rank + world, rank + 2 world, …"""
    return items[rank::world]


def agreed(team: Team, work: Callable[[], T]) -> T:
    """What every process does for itself; if it fails in one, all stop with its words.

    Raises:
        Together: the first fault, with the number of its process unless all have the same.
    """
    done, fault = _attempt(work)
    faults = [(place, said) for place, said in team.gather([(team.rank, fault)]) if said]
    if not faults:
        return done
    place, said = faults[0]
    everyone = len(faults) == team.world
    raise Together(said if everyone else f"process {place} of {team.world}: {said}")


def check_alike(team: Team, own: Mapping[str, Any]) -> None:
    """Stop all processes unless each says the same of every fact.

    Args:
        own: this process's facts by name, with the same names for every process.

    Raises:
        Together: the first fact that differs, and where.
    """
    told = team.gather([dict(own)])
    for place, its in enumerate(told):
        for name, value in its.items():
            if value != told[0][name]:
                raise Together(
                    f"The processes differ in their {name}: {told[0][name]} for process 0, {value} "
                    f"for process {place}; give all of them the same."
                )


def by_first(team: Team, work: Callable[[], T]) -> T:
    """What the first process does for all, such as reading a file that all need.

    Raises:
        Together: its fault.
    """
    done, fault = team.share(_attempt(work) if team.first else (None, ""))
    if fault:
        raise Together(fault)
    return done


def device_of(team: Team, name: str) -> str:
    """The device of this process: GPUs are dealt to the processes of a machine.

    Raises:
        AtlasError: more processes than GPUs, or one GPU named for several processes.
    """
    wanted = "cuda" if name == "best" and torch.cuda.is_available() else name
    if not wanted.startswith("cuda") or team.world == 1:
        return wanted
    if wanted != "cuda":
        raise AtlasError(f"{name!r} is one GPU for {team.world} processes; say cuda or best.")
    if team.local >= torch.cuda.device_count():
        raise AtlasError(
            f"This machine has {torch.cuda.device_count()} GPUs and a process number "
            f"{team.local}; start no more processes than GPUs."
        )
    return f"cuda:{team.local}"


def _attempt(work: Callable[[], T]) -> tuple[T | None, str]:
    try:
        return work(), ""
    except Lost:
        raise
    except AtlasError as error:
        return None, str(error)
