"""What one forward pass of a UNet costs: MACs by stage and operation, bytes written and held.

Counted on the ``meta`` device, where nothing is computed and every attention product is seen:
``torch.utils.flop_counter.FlopCounterMode`` for the MACs, our own dispatch mode for the bytes.
One MAC is one multiplication and one addition, so FLOPs = 2 × MACs. Norms, activations and
softmax are not counted, as is usual. Book: *Counting correctly*, *Where the compute goes*.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.module_tracker import ModuleTracker

from unet_atlas.anatomy import stage_of, total_params
from unet_atlas.build import example_inputs, from_config
from unet_atlas.config import check
from unet_atlas.errors import AtlasError, first_sentence
from unet_atlas.products import AttentionCalls
from unet_atlas.roles import ATTENTION_PRODUCTS, operation

Cell = tuple[str, str]  # (stage, operation)


@dataclass(frozen=True)
class Cost:
    """MACs of one forward pass, by (stage, operation), and the inputs that it is for."""

    macs: Mapping[Cell, int]
    params: int
    latent: tuple[int, int]
    batch: int
    tokens: int

    @property
    def total(self) -> int:
        """All MACs, attention products included."""
        return sum(self.macs.values())

    @property
    def without_attention(self) -> int:
        """MACs of convolutions and linear layers only: what most published figures give."""
        return sum(n for (_, op), n in self.macs.items() if op not in ATTENTION_PRODUCTS)

    @property
    def flops(self) -> int:
        """2 × MACs."""
        return 2 * self.total

    def by_operation(self) -> dict[str, int]:
        """MACs of each operation, over all stages."""
        return _sums(self.macs, 1)

    def by_stage(self) -> dict[str, int]:
        """MACs of each stage, over all operations."""
        return _sums(self.macs, 0)


@dataclass(frozen=True)
class Memory:
    """Bytes of one forward pass without gradients.

    ``written`` is what each (stage, operation) writes: the sum of the tensors that its kernels
    allocate in eager mode. ``peak`` is the most that is alive at once: inputs included,
    weights not.
    """

    written: Mapping[Cell, int]
    peak: int
    weights: int

    @property
    def activations(self) -> int:
        """All bytes written in one pass."""
        return sum(self.written.values())


@dataclass(frozen=True)
class Traffic:
    """Bytes that one forward pass reads and writes at least, in eager mode without gradients.

    ``moved`` holds bytes by stage: each operation reads every input once and writes its output;
    views are free. ``operations`` is how many operations move anything: kernels, about.
    """

    moved: Mapping[str, int]
    operations: Mapping[str, int]

    @property
    def total(self) -> int:
        """All bytes read and written in one pass."""
        return sum(self.moved.values())


def count(
    unet: UNet2DConditionModel,
    resolution: int | None = None,
    latent: int | None = None,
    batch: int = 1,
    tokens: int = 77,
) -> Cost:
    """MACs of one forward pass at any size, by stage and operation.

    Args:
        unet: on any device; the count is made on a ``meta`` twin where it is not on ``meta``.
        resolution, latent, batch, tokens: as for :func:`unet_atlas.build.example_inputs`.

    Raises:
        AtlasError: the sizes are out of range, or this UNet's forward pass fails on them.
    """
    unet = _on_meta(unet)
    inputs = example_inputs(unet, resolution, latent, batch, tokens)
    counter = FlopCounterMode(display=False)
    with counter:
        run_once(unet, inputs)
    root = type(unet).__name__
    flops = {p: sum(ops.values()) for p, ops in counter.get_flop_counts().items() if p != "Global"}
    macs: Counter[Cell] = Counter()
    for path, own in exclusive(flops).items():
        if own:
            inner = path.removeprefix(root).removeprefix(".")
            macs[stage_of(inner), operation(unet, inner)] += own // 2
    sample = inputs["sample"]
    text = inputs["encoder_hidden_states"]
    return Cost(dict(macs), total_params(unet), tuple(sample.shape[2:]), batch, text.shape[1])


def memory(
    unet: UNet2DConditionModel,
    resolution: int | None = None,
    latent: int | None = None,
    batch: int = 1,
    tokens: int = 77,
    dtype: torch.dtype | None = None,
    fused_attention: bool = True,
) -> Memory:
    """Bytes that one forward pass writes and holds, in eager mode without gradients.

    Args:
        dtype: of weights and activations; by default the model's own.
        fused_attention: whether the score matrix (tokens × tokens, each head) is never written,
            as in FlashAttention; ``False`` counts the plain product, softmax, product.
    """
    unet = _on_meta(unet, dtype)
    inputs = example_inputs(unet, resolution, latent, batch, tokens)
    tracker = Allocations(unet)
    attention = AttentionCalls(fused) if fused_attention else contextlib.nullcontext()
    with attention, tracker:
        run_once(unet, inputs)
    held = sum(t.numel() * t.element_size() for t in _tensors(inputs))
    size = sum(p.numel() * p.element_size() for p in unet.parameters())
    return Memory(dict(tracker.written), tracker.peak + held, size)


def traffic(
    unet: UNet2DConditionModel,
    resolution: int | None = None,
    latent: int | None = None,
    batch: int = 1,
    tokens: int = 77,
    dtype: torch.dtype | None = None,
    fused_attention: bool = True,
) -> Traffic:
    """Bytes that one forward pass reads and writes, by stage, if no cache serves any of them.

    Args:
        dtype, fused_attention: as for :func:`memory`; fused attention reads Q, K and V and writes
            its output, and nothing between them.
    """
    unet = _on_meta(unet, dtype)
    inputs = example_inputs(unet, resolution, latent, batch, tokens)
    mover = Moves(type(unet).__name__)
    _moved(mover, fused_attention, lambda: run_once(unet, inputs))
    return Traffic(dict(mover.moved), dict(mover.operations))


def dispatched_bytes(function: Any, *args: Any, fused_attention: bool = True) -> int:
    """Bytes that one call reads and writes, counted as by :func:`traffic`."""
    mover = Moves("")
    with torch.no_grad():
        _moved(mover, fused_attention, lambda: function(*args))
    return mover.moved.total()


def dispatched_macs(function: Any, *args: Any, **kwargs: Any) -> int:
    """MACs of one call as PyTorch's own counter sees them, on the device of the arguments."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        function(*args, **kwargs)
    return counter.get_total_flops() // 2


def weight_bytes(unet: UNet2DConditionModel, dtype: torch.dtype | None = None) -> int:
    """Bytes of the weights, in the model's own dtype or in another."""
    return sum(p.numel() * (dtype or p.dtype).itemsize for p in unet.parameters())


def run_once(unet: UNet2DConditionModel, inputs: dict[str, Any]) -> None:
    """One forward pass without gradients; AtlasError names the model and the latent's size."""
    try:
        with torch.no_grad():
            unet(**inputs)
    except Exception as error:  # whatever diffusers raises on a configuration it can't run
        size = " × ".join(str(s) for s in inputs["sample"].shape[2:])
        label = getattr(unet, "atlas_label", "this UNet")
        raise AtlasError(
            f"{label}: the forward pass fails on a latent of {size}: {first_sentence(error)}"
        ) from None


def _on_meta(unet: UNet2DConditionModel, dtype: torch.dtype | None = None) -> UNet2DConditionModel:
    """The model itself where it is on meta and of the dtype, else a twin without storage."""
    wanted = dtype or unet.dtype
    if unet.device.type == "meta" and unet.dtype == wanted:
        return unet
    label = getattr(unet, "atlas_label", "this UNet")
    return from_config(check(dict(unet.config), label), label, "meta", wanted)


def exclusive(counts: Mapping[str, int]) -> dict[str, int]:
    """What each path does itself: its count less its children's."""
    own = dict(counts)
    for path, value in counts.items():
        parent = path.rpartition(".")[0]
        while parent and parent not in own:
            parent = parent.rpartition(".")[0]
        if parent:
            own[parent] -= value
    return own


def _sums(macs: Mapping[Cell, int], axis: int) -> dict[str, int]:
    sums: Counter[str] = Counter()
    for cell, value in macs.items():
        sums[cell[axis]] += value
    return dict(sums)


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    values = (
        value.values()
        if isinstance(value, dict)
        else value
        if isinstance(value, list | tuple)
        else ()
    )
    return [t for v in values for t in _tensors(v)]


def fused(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, call: Callable[[], torch.Tensor]
) -> torch.Tensor:
    """One kernel that writes nothing but its output.

    It writes in the layout of its queries, so that joining the heads copies nothing.
    """
    shape = (*query.shape[:-1], value.shape[-1])
    return torch.empty_like(query) if shape == query.shape else query.new_empty(shape)


class Allocations(TorchDispatchMode):
    """Follows every storage that a forward pass allocates: who wrote it, how much is alive."""

    def __init__(self, unet: UNet2DConditionModel):
        super().__init__()
        self.unet, self.root = unet, type(unet).__name__
        self.written: Counter[Cell] = Counter()
        self.peak = self.alive = 0
        self.live: dict[int, tuple[StorageWeakRef, int]] = {}
        self.tracker = ModuleTracker()

    def __enter__(self):
        self.tracker.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self.tracker.__exit__(*error)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        before = {t.untyped_storage()._cdata for t in _tensors([args, kwargs or {}])}
        for tensor in _tensors(result):
            storage = tensor.untyped_storage()
            if storage._cdata not in before:
                self._allocate(storage)
        return result

    def _allocate(self, storage: torch.UntypedStorage) -> None:
        for key in [k for k, (ref, _) in self.live.items() if ref.expired()]:
            self.alive -= self.live.pop(key)[1]
        path = max(self.tracker.parents - {"Global"}, key=len, default=self.root)
        inner = path.removeprefix(self.root).removeprefix(".")
        self.written[stage_of(inner), operation(self.unet, inner)] += storage.nbytes()
        self.live[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self.alive += storage.nbytes()
        self.peak = max(self.peak, self.alive)


def _moved(mover: Moves, fused_attention: bool, run: Callable[[], Any]) -> None:
    """Run with every operation followed."""
    attention = AttentionCalls(mover.attention) if fused_attention else contextlib.nullcontext()
    with attention, mover:
        run()


class Moves(TorchDispatchMode):
    """Follows every operation of a forward pass: the bytes that it reads and writes, and where."""

    def __init__(self, root: str):
        super().__init__()
        self.root, self.tracker = root, ModuleTracker()
        self.moved: Counter[str] = Counter()
        self.operations: Counter[str] = Counter()

    def __enter__(self):
        self.tracker.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self.tracker.__exit__(*error)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func in NOTHING_MOVED:
            return result
        read, written = _tensors([args, kwargs or {}]), _tensors(result)
        known = {t.untyped_storage()._cdata for t in read}
        if not func._schema.is_mutable:
            written = [t for t in written if t.untyped_storage()._cdata not in known]
        if written:  # else a view
            self._move([*{id(t): t for t in read}.values(), *written])
        return result

    def attention(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        call: Callable[[], torch.Tensor],
    ) -> torch.Tensor:
        """Stands in for attention: reads Q, K and V once, writes its output."""
        output = fused(query, key, value, call)
        self._move([query, key, value, output])
        return output

    def _move(self, tensors: list[torch.Tensor]) -> None:
        path = max(self.tracker.parents - {"Global"}, key=len, default=self.root)
        stage = stage_of(path.removeprefix(self.root).removeprefix("."))
        self.moved[stage] += sum(map(_extent, tensors))
        self.operations[stage] += 1


def _extent(tensor: torch.Tensor) -> int:
    """Bytes of a tensor; of one that repeats itself by strides of 0, those that it is made of."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


aten = torch.ops.aten
NOTHING_MOVED = {  # they reserve memory
    aten.empty.memory_format,
    aten.empty_like.default,
    aten.empty_strided.default,
    aten.new_empty.default,
    aten.new_empty_strided.default,
}
