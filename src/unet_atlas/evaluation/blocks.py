"""Drawing a run by blocks of consecutive prompts, so that the number of processes never shows.

A block is always drawn as a whole, whoever draws it and whichever of its pictures are missing: the
arithmetic of every picture is then the same in every run. What does show is the size of a block. A
matrix product of another size rounds the last bits otherwise, and a value at the edge between two
of the 256 levels falls to the other side: for mini-sd, between blocks of 4 and of 16, 16 of 589,824
values by one level. A folder therefore keeps the size that it was begun with, the smaller one to
which too little memory led, and on a CPU the number of threads, by which products round as well.

Book: *Scoring thirty thousand images*.
"""

from __future__ import annotations

import gc
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline

from unet_atlas.errors import AtlasError
from unet_atlas.evaluation.latents import digest
from unet_atlas.evaluation.team import Team, dealt
from unet_atlas.files import replacing, write_text
from unet_atlas.images import as_uint8, read_facts, write_png
from unet_atlas.sampling import Recipe, provenance, scheduler_for
from unet_atlas.sampling.folders import (
    CAPTIONS,
    MUST_AGREE,
    PROVENANCE,
    Row,
    as_csv,
    check_same,
    read_provenance,
    write_tables,
)
from unet_atlas.sampling.pictures import OutOfMemory, call, truncated
from unet_atlas.sampling.pipelines import quiet
from unet_atlas.sampling.samplers import using

AGREE = (*MUST_AGREE, "weights", "batch", "latents", "threads")
SMALLEST = "smallest_batch"  # in a run's provenance
WRONG_REMEDY = "; choose another file."
LAG = 60.0  # seconds after which a shared disk shows everyone's files, at the latest
Say = Callable[[str], None]


@dataclass
class Artist:
    """One process's pipeline with all that a picture is drawn from.

    Attributes:
        latents: (1, c, h, w) or (prompts, c, h, w) to start from; None for the seed's own.
        size: pictures at once; falls when the memory is too small, and stays there.
        say: takes a line for the reader.
        decoder: the dtype of the VAE; SDXL's pipeline leaves another one behind when memory ends
            while it decodes.
    """

    pipeline: DiffusionPipeline | None
    recipe: Recipe
    latents: np.ndarray | None
    size: int
    say: Say = field(default=print)
    decoder: torch.dtype | None = field(init=False)

    def __post_init__(self) -> None:
        vae = getattr(self.pipeline, "vae", None)
        self.decoder = None if vae is None else vae.dtype

    def draw(self, rows: Sequence[Row], places: range) -> np.ndarray:
        """The pictures of a block, (n, h, w, 3) uint8.

        Out of memory, the block begins anew with half as many at once.

        Args:
            rows: of the block, at these ``places`` of the run.

        Raises:
            AtlasError: not even one picture fits into the memory, or what the pipeline refuses.
        """
        while True:
            try:
                cuts = range(0, len(rows), self.size)
                return np.concatenate(
                    [self._call(rows[at:][: self.size], places[at:][: self.size]) for at in cuts]
                )
            except OutOfMemory:
                if self.decoder is not None:
                    self.pipeline.vae.to(dtype=self.decoder)
                if self.size == 1:
                    raise AtlasError(
                        "Not enough memory for even one picture; take a smaller --dtype, or "
                        "another device."
                    ) from None
            self.size = max(1, min(self.size, len(rows)) // 2)
            many = "1 picture" if self.size == 1 else f"{self.size} pictures"
            self.say(f"not enough memory; {many} at once from here on")
            _empty_cache()

    def rest(self) -> None:
        """Let go of the pipeline and its memory, which is for what scores then."""
        self.pipeline = None
        gc.collect()
        _empty_cache()

    def _call(self, rows: Sequence[Row], places: range) -> np.ndarray:
        texts, seeds = [r["caption"] for r in rows], [r["seed"] for r in rows]
        with (
            quiet(),
            using(self.pipeline, scheduler_for(self.recipe.sampler, self.pipeline.scheduler)),
        ):
            floats = call(self.pipeline, texts, seeds, self.recipe, "np", self._start(places))
        return as_uint8(floats, "The pipeline's pictures")

    def _start(self, places: range) -> dict[str, Any]:
        if self.latents is None:
            return {}
        one = len(self.latents) == 1
        chosen = self.latents[[0] * len(places) if one else list(places)]
        unet = self.pipeline.unet
        return {"latents": torch.from_numpy(chosen).to(self.pipeline.device, unet.dtype)}


def blocks_of(n: int, batch: int) -> list[range]:
    """The places of n prompts in blocks of ``batch``; the last may be shorter."""
    return [range(at, min(at + batch, n)) for at in range(0, n, batch)]


def facts_of(
    pipeline: DiffusionPipeline,
    recipe: Recipe,
    rows: Sequence[Row],
    seed: int,
    batch: int,
    latents: np.ndarray | None,
    weights: str | None = None,
) -> dict[str, Any]:
    """The provenance of a run before its first picture; ``weights`` where they are known."""
    return provenance(pipeline, recipe) | {
        "weights": weights or weights_digest(pipeline),
        "threads": threads_of(pipeline.device),
        "base_seed": seed,
        "batch": batch,
        SMALLEST: batch,
        "latents": digest(latents),
        "pictures": len(rows),
        "truncated": truncated(pipeline, [row["caption"] for row in rows]),
        "seconds": 0.0,
        "complete": False,
    }


def threads_of(device: torch.device) -> int | None:
    """How many threads a CPU's products are cut for; None on other devices."""
    return torch.get_num_threads() if device.type == "cpu" else None


def weights_digest(pipeline: DiffusionPipeline) -> str:
    """sha256 of all weights with their names and dtypes, in the order of the components' names."""
    parts = sorted(pipeline.components.items())
    return digest_of_weights({k: m for k, m in parts if isinstance(m, torch.nn.Module)})


def digest_of_weights(modules: Mapping[str, torch.nn.Module]) -> str:
    """sha256 of the weights of modules with their names and dtypes, in the order given."""
    found = hashlib.sha256()
    for name, part in modules.items():
        for key, tensor in part.state_dict().items():
            found.update(f"{name}.{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
            flat = tensor.detach().cpu().contiguous().flatten()
            found.update(flat.view(torch.uint8).numpy() if flat.numel() else b"")
    return found.hexdigest()


def begin(folder: Path, rows: Sequence[Row], facts: dict[str, Any]) -> dict[str, Any]:
    """Make the folder of a new run and write its tables, or find the same run in it.

    Returns:
        the facts, with the seconds that were spent before and the size at which memory sufficed.

    Raises:
        AtlasError: it holds something else, or another run; or can't be written.
    """
    if is_new(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_tables(folder, rows, facts)
        except OSError as error:
            raise AtlasError(f"'{folder}' can't be made a folder: {error.strerror}.") from None
        except AtlasError:
            with suppress(OSError):
                folder.rmdir()
            raise
        return facts
    check_same(folder, facts, AGREE)
    with replacing(folder / PROVENANCE) as part:  # whether the disk takes anything at all
        part.write_bytes((folder / PROVENANCE).read_bytes())
    old = read_provenance(folder)
    before = {"seconds": float(old.get("seconds", 0.0))}
    return facts | before | {SMALLEST: int(old.get(SMALLEST, facts["batch"]))}


def is_new(folder: Path) -> bool:
    """Whether a run would be the first thing in the folder."""
    try:
        return not folder.exists() or not any(folder.iterdir())
    except OSError as error:
        raise AtlasError(f"'{folder}' can't be read as a folder: {error.strerror}.") from None


def check_folder(folder: Path, rows: Sequence[Row]) -> None:
    """Refuse, before any model is loaded, a folder that holds other things than this run.

    Raises:
        AtlasError: no folder, no run in it, or a run of other captions or seeds.
    """
    if is_new(folder):
        return
    try:
        old = (folder / CAPTIONS).read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise AtlasError(
            f"The folder '{folder}' is not empty and holds no run (no readable '{CAPTIONS}'); "
            "name another one."
        ) from None
    read_provenance(folder)
    if old != as_csv(rows):
        raise AtlasError(
            f"'{folder / CAPTIONS}' has other captions or seeds than this run; name another folder."
        )


def text_of(row: Row, facts: dict[str, Any]) -> dict[str, str]:
    """What a picture says of itself, as PNG text."""
    words = {
        "caption": row["caption"],
        "seed": str(row["seed"]),
        "recipe": json.dumps(facts["recipe"]),
        "model": facts["model"],
    }
    return words | ({"latents": facts["latents"]} if facts["latents"] else {})


def missing(folder: Path, rows: Sequence[Row], facts: dict[str, Any], team: Team) -> list[int]:
    """The places whose picture is not there, not whole, or another one; each process looks at its
    share, and decodes every pixel of it."""
    places = dealt(range(len(rows)), team.rank, team.world)
    lack = [i for i in places if read_facts(folder / rows[i]["file"]) != text_of(rows[i], facts)]
    return sorted(team.gather(lack))


def draw_missing(
    artist: Artist,
    folder: Path,
    rows: Sequence[Row],
    facts: dict[str, Any],
    batch: int,
    lack: Sequence[int],
    team: Team,
    tick: Callable[[], None] = lambda: None,
) -> tuple[int, float]:
    """Draw this process's share of the blocks that lack a picture; those that are there stay.

    Args:
        lack: of :func:`missing`, the same for every process.
        tick: called after each block.

    Returns:
        pictures drawn, those of a block counted that were there already; and seconds.

    Raises:
        AtlasError: what the pipeline refuses, or a picture that can't be written.
    """
    begun, wanted = time.perf_counter(), set(lack)
    todo = [block for block in blocks_of(len(rows), batch) if wanted.intersection(block)]
    drawn = 0
    for block in dealt(todo, team.rank, team.world):
        size = artist.size
        images = artist.draw(rows[block.start : block.stop], block)
        if artist.size < size:
            keep_size(folder, artist.size)
        for place in wanted.intersection(block):
            _keep(folder / rows[place]["file"], images[place - block.start], rows[place], facts)
        drawn += len(block)
        tick()
    return drawn, time.perf_counter() - begun


def keep_size(folder: Path, size: int) -> None:
    """Let a run that is gone on with begin with so many pictures at once, at most."""
    facts = read_provenance(folder)
    facts[SMALLEST] = min(size, int(facts.get(SMALLEST, size)))
    write_text(folder / PROVENANCE, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")


def await_files(folder: Path, names: Iterable[str], seconds: float) -> None:
    """Wait until this machine sees all of these files; a shared disk may show them late.

    Raises:
        AtlasError: one is still not there after ``seconds``, or after a minute.
    """
    wanted, limit = set(names), time.monotonic() + min(seconds, LAG)
    while lack := wanted.difference(f.name for f in folder.iterdir()):
        if time.monotonic() >= limit:
            raise AtlasError(
                f"'{folder / min(lack)}' was drawn but can't be seen from here; check that all "
                "machines share this folder, then give the same command."
            )
        time.sleep(0.2)


def count(folder: Path, names: Iterable[str]) -> int:
    """How many of these files are in the folder."""
    return len(set(names).intersection(f.name for f in folder.iterdir()))


def _keep(file: Path, image: np.ndarray, row: Row, facts: dict[str, Any]) -> None:
    try:
        write_png(file, image, text_of(row, facts))
    except AtlasError as error:
        reason = str(error).removesuffix(WRONG_REMEDY)
        raise AtlasError(f"{reason}; mend that, and the same command goes on.") from None


def _empty_cache() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
