"""How long an evaluation takes on so many GPUs: a formula, and a seeded simulation beside it.

A run has phases, and nobody begins one before the slowest process has ended the last: start,
weights, drawing with its files, features, sums, jackknife, cosines. The model knows what
``scripts/evaluate.py`` does with prompts (block b on process b % G, part p on process p % G) and
nothing of a particular machine: constants say where they come from, and "assumed" means assumed.
The reference is a file of mean and covariance, so that its own features and KID are left out.
Book: *Scoring thirty thousand images*.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from unet_atlas import catalog, components
from unet_atlas.errors import AtlasError
from unet_atlas.gpu import published, reading
from unet_atlas.gpu.run import Run

STEPS = 20  # guided steps of a picture, as MLPerf and this book's throughput take them
WIDTH = 2  # bytes of a weight in 16 bits
FLOAT64 = 8  # bytes
PART = 1000  # pictures in a part
LEAST_PARTS = 10
# Assumed, after one ordinary core with Pillow's defaults on pictures as rough as photographs:
PNG_BYTES = 1.6  # for each pixel
ENCODE = 0.4e-6  # seconds for each pixel
DECODE = 0.06e-6  # seconds for each pixel, with the resizing that an extractor asks for
# Operations of one Fréchet distance for each d³ (Golub & Van Loan 2013): two symmetric
# eigenproblems with vectors 9 each, their roots 2 each, the product 2, singular values 8/3.
FRECHET = 2 * (9 + 2) + 2 + 8 / 3
PHASES = ("start", "weights", "drawing", "writing", "features", "sums", "jackknife", "cosines")
MOST = 4096  # processes that a search looks at


@dataclass(frozen=True)
class Work:
    """What is drawn and scored.

    Attributes:
        pictures: N, one a prompt.
        batch: prompts in a block.
        draw: seconds of the GPU for one picture.
        side: pixels.
        weights: bytes of the pipeline, which every node reads once.
        features: d of the extractor; 2048 is Inception's.

    Raises:
        AtlasError: a number that is not above zero.
    """

    name: str
    pictures: int
    batch: int
    draw: float
    side: int
    weights: float
    features: int = 2048

    def __post_init__(self) -> None:
        _positive(self)

    @property
    def blocks(self) -> int:
        """Blocks of prompts; the last may hold fewer than ``batch``."""
        return -(-self.pictures // self.batch)

    @property
    def parts(self) -> int:
        """Parts in which pictures are scored: of about 1,000, at least ten, two pictures each."""
        most = max(1, self.pictures // 2)
        return min(most, max(LEAST_PARTS, -(-self.pictures // PART)))

    @property
    def file(self) -> float:
        """Bytes of one picture as a PNG."""
        return PNG_BYTES * self.side**2

    @property
    def made(self) -> float:
        """Seconds of one picture in its process: drawn, then encoded."""
        return self.draw + ENCODE * self.side**2

    @property
    def moments(self) -> int:
        """Bytes of Σx and Σxxᵀ in float64: what the processes add up."""
        return FLOAT64 * (self.features**2 + self.features)


@dataclass(frozen=True)
class Cluster:
    """What it is drawn on.

    Attributes:
        processes: G, one GPU each.
        per_node: GPUs in a node; 8 in an H100 or H200 server.
        disk: bytes/s that the shared file system gives to all together; assumed, a file server
            behind 25 Gbit/s Ethernet.
        creations: files that it creates in a second, for all together; assumed, each costs it some
            round trips and a synchronous write.
        link: bytes/s of a process to others; assumed, TCP over 10 Gbit/s Ethernet, since the
            processes exchange by gloo.
        latency: seconds of one message between nodes; assumed, by TCP.
        start: seconds until imports and the process group are done; assumed.
        matrices: FLOP/s of a process' cores in float64 on eigenproblems; assumed.

    Raises:
        AtlasError: a number that is not above zero.
    """

    processes: int = 1
    per_node: int = 8
    disk: float = 3.125e9
    creations: float = 1000.0
    link: float = 1.25e9
    latency: float = 50e-6
    start: float = 30.0
    matrices: float = 3e10

    def __post_init__(self) -> None:
        _positive(self)

    @property
    def nodes(self) -> int:
        """Nodes that the processes fill."""
        return -(-self.processes // self.per_node)

    def serve(self, work: Work) -> float:
        """Seconds in which the file system takes one picture: the slower of creating and moving."""
        return max(1 / self.creations, work.file / self.disk)


@dataclass(frozen=True)
class Plan:
    """Seconds of a run by phase, from start to the last score."""

    work: Work
    cluster: Cluster
    seconds: Mapping[str, float]

    @property
    def total(self) -> float:
        """Seconds from start to end."""
        return sum(self.seconds.values())

    @property
    def gpu_hours(self) -> float:
        """What the run is charged for: all processes from start to end."""
        return self.cluster.processes * self.total / 3600

    @property
    def efficiency(self) -> float:
        """The seconds of one process alone, divided by those of all of these together."""
        alone = closed(self.work, replace(self.cluster, processes=1))
        return alone.total / (self.cluster.processes * self.total)


def picture_seconds(model: str, rate: float, steps: int = STEPS) -> float:
    """Seconds of one guided picture with its text encoders and decoder, by this book's count.

    Args:
        model: of the catalogue, at its own size.
        rate: FLOP/s that are achieved; a card's peak gives the floor.

    Raises:
        AtlasError: an unknown model, or a rate or steps not above zero.
    """
    if not (math.isfinite(rate) and rate > 0) or steps < 1:
        raise AtlasError(f"{steps} steps at {rate:g} FLOP/s are no speed; give two above zero.")
    step, rest = published.work(model)
    return 2 * (steps * step + rest) / rate


def published_seconds(system: str, steps: int = STEPS) -> float:
    """Seconds of one picture at the arithmetic that a published speed amounts to.

    Args:
        system: a name in ``gpu/published.yaml``.

    Raises:
        AtlasError: no such system.
    """
    known = {s.name: s for s in published.systems()}
    if system not in known:
        raise AtlasError(f"No published speed is called {system!r}; there are {', '.join(known)}.")
    return picture_seconds(known[system].model, published.rate(known[system]), steps)


def recorded_seconds(model: str, run: Run | None = None) -> float | None:
    """Seconds of one picture of 20 steps at the best batch of a GPU record; ``None`` without one.

    Args:
        run: by default the newest record with experiment ``throughput``.
    """
    run = run or reading.newest("throughput")
    rows = run.experiments["throughput"].rows if run else ()
    rates = [r["images_per_second"] for r in rows if r["model"] == model]
    return 1 / max(filter(None, rates)) if any(rates) else None


def work_of(model: str, draw: float, pictures: int = 30_000, batch: int = 16) -> Work:
    """An evaluation of a model of the catalogue at its own size, weights in 16 bits.

    Args:
        draw: seconds of one picture: measured, published, or :func:`picture_seconds`.
    """
    known = catalog.get(model)
    weights = WIDTH * sum(components.component_params(known).values())
    return Work(known.name, pictures, batch, draw, known.resolution, weights)


def closed(work: Work, cluster: Cluster) -> Plan:
    """The plan when every picture takes equally long: a formula for each phase.

    Exact where all blocks are full and all parts equal; a last block that is not full can only
    end sooner.
    """
    size = -(-work.pictures // work.parts)
    drawn = last_end(
        work.blocks, cluster.processes, work.batch * work.made, work.batch * cluster.serve(work)
    )
    own = -(-work.blocks // cluster.processes) * work.batch * work.made
    scored = last_end(
        work.parts, cluster.processes, size * _scored(work, cluster), size * _read(work, cluster)
    )
    return _plan(work, cluster, own, drawn, scored)


def simulate(work: Work, cluster: Cluster, jitter: float = 0.05, seed: int = 0) -> Plan:
    """The plan when blocks and parts differ: each is longer or shorter by a lognormal factor.

    Args:
        jitter: standard deviation of the factor's logarithm; its mean is 1. Assumed.
        seed: of the factors.

    Raises:
        AtlasError: a negative or infinite jitter.
    """
    if not (math.isfinite(jitter) and jitter >= 0):
        raise AtlasError(f"A jitter of {jitter:g} can't be; give 0 or more.")
    rng, processes = np.random.default_rng(seed), cluster.processes
    blocks, parts = _sizes(work)
    own = blocks * work.made * _factors(rng, jitter, len(blocks))
    drawn = queue(own, blocks * cluster.serve(work), processes)
    busy = max(own[p::processes].sum() for p in range(min(processes, len(own))))
    extracted = parts * _scored(work, cluster) * _factors(rng, jitter, len(parts))
    scored = queue(extracted, parts * _read(work, cluster), processes)
    return _plan(work, cluster, busy, drawn, scored)


def last_end(units: int, processes: int, own: float, shared: float) -> float:
    """When the last of equal units is done, if unit u belongs to process u % processes.

    A process takes ``own`` seconds for a unit alone and then ``shared`` seconds of a server that
    takes one unit at a time, and begins its next unit when it is served. The first processes wait
    for each other once; if (processes − 1) · shared > own, all wait for the server for ever.
    """
    processes = min(processes, units)
    rounds = -(-units // processes)
    last = units - (rounds - 1) * processes  # processes with a unit in the last round
    return max(rounds * own + (rounds - 1 + last) * shared, own + units * shared)


def queue(own: Sequence[float], shared: Sequence[float], processes: int) -> float:
    """When the last of unequal units is done: :func:`last_end`, event by event."""
    ready = [(seconds, u) for u, seconds in enumerate(own[:processes])]
    heapq.heapify(ready)
    free = 0.0
    while ready:
        arrived, unit = heapq.heappop(ready)
        free = max(arrived, free) + shared[unit]
        if (following := unit + processes) < len(own):
            heapq.heappush(ready, (free + own[following], following))
    return float(free)


def ring(size: float, cluster: Cluster) -> float:
    """Seconds of an all-reduce of ``size`` bytes around a ring (Patarasuk & Yuan 2009).

    Each process sends 2 (G − 1) pieces of size / G: least bytes, but a latency for each piece.
    """
    hops = 2 * (cluster.processes - 1)
    return hops * (size / cluster.processes / cluster.link + cluster.latency)


def tree(size: float, cluster: Cluster) -> float:
    """Seconds of the same up and down a binary tree: few messages, all of them whole."""
    hops = 2 * math.ceil(math.log2(cluster.processes))
    return hops * (size / cluster.link + cluster.latency)


def saturation(work: Work, cluster: Cluster) -> int:
    """The most processes that never wait for the file system while they draw, in the long run."""
    return math.floor(1 + work.made / cluster.serve(work))


def least_where(holds: Callable[[Plan], bool], work: Work, cluster: Cluster) -> int | None:
    """The least number of processes at which something holds, up to 4,096; ``None`` if nowhere."""
    counts = range(1, MOST + 1)
    return next((g for g in counts if holds(closed(work, replace(cluster, processes=g)))), None)


def shortest(work: Work, cluster: Cluster) -> Plan:
    """The plan that ends first, of all numbers of processes up to 4,096."""
    plans = (closed(work, replace(cluster, processes=g)) for g in range(1, MOST + 1))
    return min(plans, key=lambda plan: plan.total)


def _plan(work: Work, cluster: Cluster, own: float, drawn: float, scored: float) -> Plan:
    """The phases, given the longest own work, the end of drawing and the time of the features."""
    values = -(-work.parts // cluster.processes) + 1  # its parts left out, and the whole
    seconds = (
        cluster.start,
        cluster.nodes * work.weights / cluster.disk,
        own,
        drawn - own,
        scored,
        ring(work.moments, cluster),
        values * FRECHET * work.features**3 / cluster.matrices,
        ring(FLOAT64 * work.pictures, cluster),
    )
    return Plan(work, cluster, dict(zip(PHASES, seconds, strict=True)))


def _scored(work: Work, cluster: Cluster) -> float:
    """Seconds of one picture's features in their process: decoded, and added to Σxxᵀ.

    The networks themselves (some 20 GFLOPs for Inception and CLIP's ViT-B/32) take a GPU less than
    a millisecond and are left out.
    """
    return DECODE * work.side**2 + 2 * work.features**2 / cluster.matrices


def _read(work: Work, cluster: Cluster) -> float:
    """Seconds in which the file system gives one picture back."""
    return work.file / cluster.disk


def _sizes(work: Work) -> tuple[np.ndarray, np.ndarray]:
    """Pictures in each block, and in each part."""
    blocks = np.full(work.blocks, work.batch)
    blocks[-1] = work.pictures - (work.blocks - 1) * work.batch
    parts = np.array([len(p) for p in np.array_split(range(work.pictures), work.parts)])
    return blocks, parts


def _factors(rng: np.random.Generator, jitter: float, n: int) -> np.ndarray:
    return np.exp(jitter * rng.standard_normal(n) - jitter**2 / 2)


def _positive(record: Work | Cluster) -> None:
    """Raise an AtlasError unless every number of a record is finite and above zero."""
    for field in fields(record):
        value = getattr(record, field.name)
        if not isinstance(value, str) and not (math.isfinite(value) and value > 0):
            kind = type(record).__name__.lower()
            raise AtlasError(f"The {kind}'s {field.name} is {value}; give a number above zero.")
