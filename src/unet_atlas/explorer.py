"""The data behind the book's explorer: one JSON a model, read off the live UNet at build.

``python -m unet_atlas.explorer FOLDER`` writes ``<id>.json`` for each model of the catalogue and of
the mini family, the same as ``<id>.js`` (for pages opened from disk, where a browser fetches no
JSON), and an index of both kinds. The page's own ``formula.js`` makes the same document from a
configuration alone; tests hold the two together, row by row. Book: *The explorer*.

A document (schema 1)::

    schema      1
    id, name    what the model is called; ``family`` is "Stable Diffusion" or "mini"
    config      every argument of UNet2DConditionModel, defaults filled in
    latent      [height, width] at which ``rows`` were measured: the model's own size
    factor      pixels a latent cell (8; the mini family's VAE has 4)
    tokens      length of the text
    stages      a table: the fields of :class:`unet_atlas.anatomy.Stage`, without sizes
    blocks      a table: the fields of :class:`unet_atlas.anatomy.Block`
    rows        a table: what each module does itself (see :class:`Row`)

A table is ``{"columns": [names], "values": [[…], …]}``. Summed over ``rows``, ``times`` times
``params``, ``macs`` and ``bytes`` are the totals of :func:`unet_atlas.anatomy.total_params`,
:func:`unet_atlas.cost.count` and :func:`unet_atlas.cost.memory` (float32, batch 1, fused
attention). At another size a row's MACs grow with the positions of its level, those of
self-attention with their square, and so do its bytes except for ``fixed`` of them.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from unet_atlas import catalog
from unet_atlas.anatomy import Stage, blocks, context_dim, levels, stage_of, stages
from unet_atlas.build import VAE_FACTOR, build_unet, example_inputs
from unet_atlas.catalog import Model
from unet_atlas.config import resolve
from unet_atlas.cost import Allocations, exclusive, fused, run_once
from unet_atlas.errors import AtlasError, first_sentence
from unet_atlas.files import write_text
from unet_atlas.mini import MEMBERS
from unet_atlas.products import AttentionCalls
from unet_atlas.roles import operation
from unet_atlas.tables import NONE, Table, depth_text, heads_text, merge_equal_rows, millions

SCHEMA = 1
FAMILY, MINI = "Stable Diffusion", "mini"
IN_INDEX = ("id", "name", "family", "latent", "factor")
USUAL = {"factor": VAE_FACTOR, "tokens": 77}
TEXT, ONCE = "text", "once"
STAGE = re.compile(r"mid_block|(?:down|up)_blocks\.\d+")
LAYERS = (nn.Conv2d, nn.Linear, nn.GroupNorm, nn.LayerNorm, nn.Embedding, Attention)
REPEATED = re.compile(r"^(.*\.transformer_blocks)\.(\d+)(.*)$")


@dataclass(frozen=True)
class Row:
    """What one module does itself, its children left out; ``times`` equal modules in one row.

    ``path`` is diffusers' (``transformer_blocks.0–9`` for ten equal ones); ``role`` one of
    :mod:`unet_atlas.roles`. ``at`` says how often the layer is applied: at each position of a
    level (``0``, ``1``, …), at each token of the text (``text``) or ``once``. ``params``, ``macs``
    and ``bytes`` (written in float32) are those of one module; ``fixed`` of the bytes do not
    depend on the picture's size.
    """

    path: str
    kind: str
    role: str
    times: int
    at: str
    channels_in: int | None
    channels_out: int | None
    heads: int | None
    head_dim: int | None
    context: int | None
    params: int
    macs: int
    bytes: int
    fixed: int


def rows(
    unet: UNet2DConditionModel, latent: int | None = None, tokens: int = 77
) -> tuple[Row, ...]:
    """One row for each module of a UNet on ``meta`` that has parameters, computes or writes.

    Args:
        latent: side of the square latent; by default the configuration's ``sample_size``.
        tokens: length of the text.

    Raises:
        AtlasError: the forward pass fails on these inputs.
    """
    inputs = example_inputs(unet, latent=latent, tokens=tokens)
    shapes = _Shapes(unet)
    macs = _macs(unet, inputs, shapes)
    side = tuple(inputs["sample"].shape[2:])
    double = dict(inputs, sample=_larger(inputs["sample"]))
    written, twice = (_written(unet, each) for each in (inputs, _with_hint(double)))
    found = []
    for path, module in _in_order(unet):
        params = sum(p.numel() for p in module.parameters(recurse=False))
        if not (params or macs.get(path) or written.get(path)):
            continue
        at = shapes.place(path, side, tokens)
        fixed = _fixed(written.get(path, 0), twice.get(path, 0), at)
        found.append(
            Row(
                path, _kind(module), operation(unet, path), 1, at, *_widths(module),
                *_heads(module), params, macs.get(path, 0), written.get(path, 0), fixed,
            )
        )  # fmt: skip
    return tuple(_joined(found))


def document(unet: UNet2DConditionModel, name: str, **facts: Any) -> dict[str, Any]:
    """A UNet as the explorer reads it; see the module's docstring.

    Args:
        name: what the model is called.
        facts: ``id``, ``family``, ``factor``, ``tokens`` where they differ from the usual.
    """
    head = {"id": name, "family": FAMILY, **USUAL, **facts}
    config = {k: v for k, v in unet.config.items() if not k.startswith("_")}
    side = example_inputs(unet)["sample"].shape[2:]
    measured = rows(unet, tokens=head["tokens"])
    return {
        "schema": SCHEMA,
        "name": name,
        **head,
        "config": config,
        "latent": list(side),
        "stages": _table(stages(unet), leave_out=("size",)),
        "blocks": _table(blocks(unet)),
        "rows": _table(measured),
    }


def documents() -> Iterator[dict[str, Any]]:
    """The documents of all models; UNets with the same configuration are measured once."""
    known: dict[str, dict[str, Any]] = {}
    for facts in _entries():
        source = facts["id"]
        key = f"{resolve(source)[1]}, {facts['tokens']} tokens"
        if key not in known:
            known[key] = document(build_unet(source), **facts)
        yield {**known[key], **facts}


def export(folder: Path) -> list[Path]:
    """Write every model's document and the index into a folder; the files written.

    Nothing is written before every model is measured.

    Raises:
        AtlasError: the folder can't be made, or a file in it can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or first_sentence(error).rstrip(".")
        raise AtlasError(f"'{folder}' can't be a folder: {reason}; name another one.") from None
    found = {d["id"]: d for d in documents()}
    index = [{k: d[k] for k in IN_INDEX} for d in found.values()]
    saved = [_save(folder, name, value) for name, value in (found | {"index": index}).items()]
    return [path for paths in saved for path in paths]


def summary_table() -> Table:
    """All models of the catalogue, one row for each set of equal UNets: the explorer in short.

    This is what the page shows where no script runs.
    """
    facts = [_summary(model) for model in catalog.models()]
    frame = merge_equal_rows(pd.DataFrame(facts).fillna(NONE))
    return Table("explorer", "The UNets of the catalogue, stage by stage", frame, frame)


def _summary(model: Model) -> dict[str, str]:
    unet = build_unet(model.id)
    found = [s for s in stages(unet) if s.level is not None]
    total = sum(p.numel() for p in unet.parameters())
    return {"model": model.name, "parameters": millions(total), "context": _context(found)} | {
        s.key: f"{s.channels_out} channels; depth {depth_text(s)}; heads {heads_text(s)}; "
        f"{millions(s.params)}"
        for s in found
    }


def _context(found: Sequence[Stage]) -> str:
    return next((str(s.cross_attention_dim) for s in found if s.cross_attention_dim), NONE)


def _entries() -> Iterator[dict[str, Any]]:
    for model in catalog.models():
        yield {"id": model.id, "name": model.name, "family": FAMILY, **USUAL}
    for name in MEMBERS:
        yield {"id": name, "name": name, "family": MINI, "factor": 4, "tokens": 24}


def _save(folder: Path, name: str, value: Any) -> list[Path]:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    plain, script = folder / f"{name}.json", folder / f"{name}.js"
    write_text(plain, text + "\n")
    write_text(script, f"UNetAtlas.data[{json.dumps(name)}]={text};\n")
    return [plain, script]


def _table(found: Sequence[Any], leave_out: tuple[str, ...] = ()) -> dict[str, Any]:
    columns = [f.name for f in fields(found[0]) if f.name not in leave_out]
    return {"columns": columns, "values": [[getattr(r, c) for c in columns] for r in found]}


# --- measuring -----------------------------------------------------------------------------


class _Shapes:
    """The shape that each module puts out, caught in one forward pass."""

    def __init__(self, unet: UNet2DConditionModel):
        self.unet, self.shapes = unet, {}
        self.levels = levels(unet)

    def hooks(self) -> list[Any]:
        """Hooks that write the shapes down; to be removed after the pass."""

        def note(path: str):
            def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
                if isinstance(output, torch.Tensor):
                    self.shapes[path] = tuple(output.shape)

            return hook

        return [m.register_forward_hook(note(p)) for p, m in self.unet.named_modules() if p]

    def place(self, path: str, side: tuple[int, int], tokens: int) -> str:
        """How often the module at ``path`` is applied: a level, ``text`` or ``once``."""
        level, shape = self.levels.get(stage_of(path)), self.shapes.get(path, ())
        if STAGE.fullmatch(path) or (level is not None and len(shape) not in (2, 3, 4)):
            return str(level)
        if len(shape) == 4:
            return next(
                (str(n) for n in _near(path, level) if _at_level(side, n) == shape[2:]), ONCE
            )
        if len(shape) != 3:
            return ONCE
        norm = isinstance(self.unet.get_submodule(path), nn.GroupNorm)
        count = shape[2] if norm else shape[1]
        if level is None:
            return ONCE if count == 1 else TEXT
        height, width = _at_level(side, level)
        return str(level) if count == height * width != tokens else TEXT


def _near(path: str, level: int | None) -> tuple[int, ...]:
    """The levels at which a module of a stage may work, the likeliest first."""
    if level is None:
        return (0,)
    steps = {"downsamplers": (1, 0), "upsamplers": (-1, 0)}
    kind = next((k for k in steps if f".{k}." in path), "")
    return tuple(level + step for step in steps.get(kind, (0,)))


def _at_level(side: tuple[int, int], level: int) -> tuple[int, int]:
    return tuple(-(-s // 2**level) for s in side)


def _macs(unet: UNet2DConditionModel, inputs: dict[str, Any], shapes: _Shapes) -> dict[str, int]:
    """MACs of each module itself, by PyTorch's counter as in :func:`unet_atlas.cost.count`."""
    hooks = shapes.hooks()
    counter = FlopCounterMode(display=False)
    try:
        with counter:
            run_once(unet, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    flops = {p: sum(ops.values()) for p, ops in counter.get_flop_counts().items() if p != "Global"}
    root = type(unet).__name__
    return {_inner(p, root): own // 2 for p, own in exclusive(flops).items() if own}


def _written(unet: UNet2DConditionModel, inputs: dict[str, Any]) -> dict[str, int]:
    """Bytes that each module itself writes, as in :func:`unet_atlas.cost.memory`."""
    tracker = _ByModule(unet)
    with AttentionCalls(fused), tracker:
        run_once(unet, inputs)
    return dict(tracker.written)


class _ByModule(Allocations):
    """The same bookkeeping as for the tables, by module instead of by stage and operation."""

    def _allocate(self, storage: torch.UntypedStorage) -> None:
        path = max(self.tracker.parents - {"Global"}, key=len, default=self.root)
        self.written[_inner(path, self.root)] += storage.nbytes()


def _inner(path: str, root: str) -> str:
    return path.removeprefix(root).removeprefix(".")


def _larger(sample: torch.Tensor) -> torch.Tensor:
    """An input of twice the height and width."""
    batch, channels, height, width = sample.shape
    return sample.new_zeros(batch, channels, 2 * height, 2 * width)


def _with_hint(inputs: dict[str, Any]) -> dict[str, Any]:
    """Inputs whose hint picture, where there is one, has the size of the latent."""
    added = inputs.get("added_cond_kwargs", {})
    if "hint" not in added:
        return inputs
    return inputs | {"added_cond_kwargs": added | {"hint": _larger(added["hint"])}}


def _fixed(once: int, twice: int, at: str) -> int:
    """The part of the bytes that is the same at four times the positions."""
    return once if at in (TEXT, ONCE) else (4 * once - twice) // 3


# --- describing ----------------------------------------------------------------------------


def _in_order(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """All modules, each after its children; an attention layer before its output projection."""
    for name, child in module.named_children():
        if isinstance(module, Attention) and name == "to_out":
            yield path, module
        yield from _in_order(child, f"{path}.{name}" if path else name)
    if not (isinstance(module, Attention) and getattr(module, "to_out", None) is not None):
        yield path, module


def _kind(module: nn.Module) -> str:
    """The class, for a convolution with its kernel and stride: ``Conv2d 3×3, stride 2``."""
    if not isinstance(module, nn.Conv2d):
        return type(module).__name__
    size, (stride, _) = "×".join(map(str, module.kernel_size)), module.stride
    return f"Conv2d {size}" + (f", stride {stride}" if stride > 1 else "")


def _widths(module: nn.Module) -> tuple[int | None, int | None]:
    """Channels or features that enter and leave a layer; nothing for what is no layer."""
    if isinstance(module, Attention):
        return module.query_dim, module.out_dim
    for names in (
        ("in_channels", "out_channels"),
        ("in_features", "out_features"),
        ("num_channels", "num_channels"),
        ("num_embeddings", "embedding_dim"),
    ):
        if isinstance(module, LAYERS) and hasattr(module, names[0]):
            return getattr(module, names[0]), getattr(module, names[1])
    shape = getattr(module, "normalized_shape", None) if isinstance(module, LAYERS) else None
    return (shape[0], shape[0]) if shape else (None, None)


def _heads(module: nn.Module) -> tuple[int | None, int | None, int | None]:
    if not isinstance(module, Attention):
        return None, None, None
    return module.heads, module.inner_dim // module.heads, context_dim(module)


def _joined(found: Iterable[Row]) -> Iterator[Row]:
    """Equal transformer blocks of one module in one row each."""
    for key, group in groupby(found, key=_list_of_blocks):
        members = list(group)
        if key is None:
            yield from members
            continue
        by_block: dict[str, list[Row]] = {}
        for row in members:
            by_block.setdefault(REPEATED.match(row.path)[2], []).append(row)
        first, *others = by_block.values()
        plain = [_plain(first), *map(_plain, others)]
        if not others or any(p != plain[0] for p in plain):
            yield from members
            continue
        for row in first:
            head, _, tail = REPEATED.match(row.path).groups()
            yield replace(row, path=f"{head}.0–{len(plain) - 1}{tail}", times=len(plain))


def _list_of_blocks(row: Row) -> str | None:
    found = REPEATED.match(row.path)
    return found[1] if found else None


def _plain(members: Sequence[Row]) -> list[Row]:
    return [replace(row, path=REPEATED.match(row.path)[3]) for row in members]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the data into the folder named on the command line; 2 where that can't be done."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        print(f"{len(export(_folder(arguments)))} files")
    except AtlasError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _folder(arguments: Sequence[str]) -> Path:
    if len(arguments) == 1 and arguments[0] and not arguments[0].startswith("-"):
        return Path(arguments[0])
    said = "nothing was named" if not arguments else f"not {' '.join(map(repr, arguments))}"
    raise AtlasError(f"Name one folder, {said}: python -m unet_atlas.explorer FOLDER.")


if __name__ == "__main__":
    sys.exit(main())
