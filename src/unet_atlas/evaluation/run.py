"""The whole evaluation: check, load, draw what is missing, score, write."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from unet_atlas.device import parse_device
from unet_atlas.errors import AtlasError
from unet_atlas.evaluation import blocks, parts, results, stopping
from unet_atlas.evaluation.blocks import Artist
from unet_atlas.evaluation.conditions import scoring
from unet_atlas.evaluation.jobs import (
    Job,
    Tools,
    artist_of,
    check_against_reference,
    prepare,
    tools_of,
)
from unet_atlas.evaluation.latents import digest
from unet_atlas.evaluation.progress import Progress
from unet_atlas.evaluation.protocol import PERCENT, Options
from unet_atlas.evaluation.team import Team, agreed, by_first, check_alike, dealt, device_of
from unet_atlas.images import ImageFolder, read_image
from unet_atlas.metrics.bootstrap import Estimate, interval
from unet_atlas.metrics.clipscore import clip_score_hessel, clip_score_percent
from unet_atlas.records import Record
from unet_atlas.reference import Reference
from unet_atlas.sampling.folders import check_same, read_provenance, write_tables
from unet_atlas.sampling.pictures import pixels_digest
from unet_atlas.scorer import LIBRARY
from unet_atlas.scoring import OURS, PERCENTILE, Score
from unet_atlas.tables import Table

RESAMPLES = 1000
JACKKNIFE, STUDENT = "jackknife over parts", "Student, over parts"
NO_FEATURES = "none: the reference has no features, only a mean and a covariance"
SAME = ("model", "recipe", "base_seed", "batch", "latents")  # what a command says of a drawn run
Say = Callable[[str], None]
T = TypeVar("T")


@dataclass(frozen=True)
class Outcome:
    """What the first process has to show."""

    tables: list[Table]
    record: Record


def evaluate(options: Options, team: Team, say: Say = print) -> Outcome | None:
    """Evaluate as one of ``team``; the outcome on the first process, None on the others.

    Args:
        say: takes a line for the reader, from any process.

    Raises:
        Together: a fault that all processes know of.
        AtlasError: one of this process's own.
    """
    begun = time.perf_counter()
    device = agreed(team, lambda: parse_device(device_of(team, options.device)))
    if device.index is not None and device.type == "cuda":
        torch.cuda.set_device(device)  # or every process would open the first GPU as well
    job = by_first(team, lambda: prepare(options))
    tools = agreed(team, lambda: tools_of(options, device))
    check_alike(team, facts_of_all(device, tools))
    artist = None
    if options.score_only:
        facts, speed = found(options, job, tools, team)
    else:
        artist = agreed(team, lambda: artist_of(options, job, tools, device, say))
    known, reading = timed(lambda: compared_with(job, tools, team))  # a broken one, before drawing
    if artist is not None:
        facts, speed = drawn(options, job, artist, team)
    (scores, compared), looking = timed(lambda: scored(options, job, tools, known, team))
    speed["scoring_seconds"] = round(reading + looking, 3)
    outcome = None
    if team.first:
        outcome = written(options, job, facts, scores, compared, speed, begun)
    team.wait()
    return outcome


def found(
    options: Options, job: Job, tools: Tools, team: Team
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The provenance of a run that was drawn before, with all of its pictures, and no speed.

    Raises:
        Together: another run, or one that is not whole.
    """
    facts = by_first(team, lambda: _drawn_before(options, job))
    lack = blocks.missing(options.output, job.rows, facts, team)
    by_first(team, lambda: _check_whole(options, job, tools, lack))
    return facts, speed_of(options, len(job.rows), [], team)


def facts_of_all(device: torch.device, tools: Tools) -> dict[str, Any]:
    """What rounds a process's numbers, and the reference that it read: the same for all."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {
        "device": name,
        "threads": blocks.threads_of(device),
        "reference": reference_digest(tools.stored),
        "CLIP model": blocks.digest_of_weights({"clip": tools.scorer.model}),
    }


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What some work returns, and its seconds."""
    begun = time.perf_counter()
    return work(), time.perf_counter() - begun


def drawn(
    options: Options, job: Job, artist: Artist, team: Team
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draw what is missing; returns the run's provenance and this launch's speed."""
    device, weights = artist.pipeline.device, blocks.weights_digest(artist.pipeline)
    dtype = str(artist.pipeline.unet.dtype)
    check_alike(team, {"dtype": dtype, "weights": weights})
    facts = by_first(team, lambda: _begun(artist, options, job, weights))
    artist.size = min(artist.size, facts[blocks.SMALLEST])
    lack = blocks.missing(options.output, job.rows, facts, team)
    names, there = [row["file"] for row in job.rows], len(job.rows) - len(lack)
    progress = Progress(lambda: blocks.count(options.output, names), len(names), "drawing", team)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    made, seconds = blocks.draw_missing(
        artist, options.output, job.rows, facts, options.batch, lack, team, progress.tick
    )
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    mine = {"drawn": made, "seconds": seconds, "peak": peak, "size": artist.size}
    by_process = team.gather([mine])
    progress.close()
    artist.rest()
    speed = speed_of(options, there, by_process, team)
    facts |= {blocks.SMALLEST: speed["smallest_batch"]}
    return facts | {"seconds": round(facts["seconds"] + speed["seconds"], 3)}, speed


def speed_of(
    options: Options, there: int, by_process: list[dict[str, Any]], team: Team
) -> dict[str, Any]:
    """How fast a launch drew, from what each process says of itself; nothing where none drew.

    Args:
        there: pictures that were found.
        by_process: ``drawn``, ``seconds``, ``peak`` and ``size`` of each.
    """
    made = sum(one["drawn"] for one in by_process)
    seconds = max((one["seconds"] for one in by_process if one["drawn"]), default=0.0)
    peaks = [one["peak"] for one in by_process if one["peak"] is not None]
    return {
        "processes": team.world,
        "threads": torch.get_num_threads(),
        "batch": options.batch,
        "smallest_batch": min([options.batch, *(one["size"] for one in by_process)]),
        "drawn": made,
        "found": there,
        "seconds": round(seconds, 3),
        "images_per_second": made / seconds if made else None,
        "by_process": [one["drawn"] / one["seconds"] for one in by_process if one["drawn"]],
        "gpu_bytes": max(peaks, default=None),
    }


def compared_with(job: Job, tools: Tools, team: Team) -> Reference | None:
    """The reference, as features where it is a folder; None without one."""
    if job.real is None:
        return tools.stored
    return parts.reference_of(job.real, tools.extractor, team)


@scoring()
def scored(
    options: Options, job: Job, tools: Tools, known: Reference | None, team: Team
) -> tuple[list[Score], dict[str, Any]]:
    """All scores, on every process; and what they were compared with."""
    names = [row["file"] for row in job.rows]
    agreed(team, lambda: blocks.await_files(options.output, names, team.patience))
    images = pictures_of(options.output, job)
    captions = [options.prefix + row["caption"] for row in job.rows]
    own = own_parts(images, captions, tools, team)
    scores = [] if known is None else against_reference(own, len(images), known, tools, team)
    scores += against_captions(own, tools, team)
    texts = "\n".join(row["caption"] for row in job.rows)
    compared = {
        "captions_digest": hashlib.sha256(texts.encode()).hexdigest(),
        "reference_digest": reference_digest(known),
        "reference_pictures": known.n if known else 0,
        "parts": len(parts.parts_of(len(images))),
        "pictures_digest": parts.pictures_digest(own, team),
        "size": f"{images.size[0]} × {images.size[1]}",
        "clip": tools.scorer.shape,
    }
    return scores, compared


def own_parts(
    images: ImageFolder, captions: list[str], tools: Tools, team: Team
) -> list[parts.Part]:
    """This process's parts; a line now and then says how far the first process is."""
    done, cut = [0], parts.parts_of(len(images))
    mine = len(dealt(cut, team.rank, team.world))
    progress = Progress(lambda: done[0], mine, "scoring, parts of this process", team, brief=True)

    def tick(so_far: int) -> None:
        done[0] = so_far
        progress.tick()

    models = (tools.extractor, tools.pooled, tools.scorer)
    return parts.own_parts(images, captions, *models, team, tick)


def against_reference(
    own: list[parts.Part], pictures: int, known: Reference, tools: Tools, team: Team
) -> list[Score]:
    """FID, its bias, and KID where the reference has features."""
    width, extractor = parts.known_moments(known)[0].size, tools.extractor
    facts = (pictures, known.n, f"{extractor.name} ({width})", extractor.resized)
    facts += (f"{OURS} on {extractor.library}",)
    fid, bias = parts.fid(own, pictures, known, team)
    none = Estimate(float("nan"), float("nan"), float("nan"))
    kid, method = none, NO_FEATURES
    if known.features is not None:
        kid, method = parts.kid(own, known, team), STUDENT
    kid = Estimate(kid.value * 1000, kid.low * 1000, kid.high * 1000)
    no_interval = "none for fewer than 2 parts"
    single = len(parts.parts_of(pictures)) < 2
    return [
        _score("FID", fid, no_interval if single else JACKKNIFE, *facts),
        _score("FID, its bias at this N", Estimate(bias, none.low, none.high), JACKKNIFE, *facts),
        _score("KID × 1,000", kid, no_interval if single else method, *facts),
    ]


def against_captions(own: list[parts.Part], tools: Tools, team: Team) -> list[Score]:
    """CLIP score in both conventions, from the same cosines."""
    found, scorer = parts.all_cosines(own, team), tools.scorer
    width = scorer.model.config.projection_dim
    label = f"{scorer.label}, projected ({width})"
    facts = (PERCENTILE, len(found), 0, label, scorer.resized, f"{OURS} on {LIBRARY}")
    hessel = interval(clip_score_hessel(found), n=RESAMPLES)
    percent = interval(found, clip_score_percent, RESAMPLES)
    return [
        _score("CLIP score, 2.5 · max(cos, 0)", hessel, *facts),
        _score(PERCENT, percent, *facts),
    ]


def written(
    options: Options,
    job: Job,
    facts: Mapping[str, Any],
    scores: list[Score],
    compared: Mapping[str, Any],
    speed: Mapping[str, Any],
    begun: float,
) -> Outcome:
    """Write provenance, ``scores.json`` and the record; returns what there is to show."""
    facts = {**facts, "complete": True, "pixels": compared["pictures_digest"]}
    write_tables(options.output, job.rows, facts)
    rows = results.rows_of_record(options, facts, scores, compared, speed)
    record = results.record_of(facts, rows, time.perf_counter() - begun)
    for file in filter(None, (options.output / results.SCORES, options.record)):
        results.write(record, file)
    stopping.forget(options.output)
    images = pictures_of(options.output, job)
    return Outcome(results.tables(record, scores, images, compared["parts"]), record)


def pictures_of(folder: Path, job: Job) -> ImageFolder:
    """The run's pictures in the order of its captions."""
    files = tuple(folder / row["file"] for row in job.rows)
    height, width, _ = read_image(files[0]).shape
    return ImageFolder(folder, files, (width, height))


def reference_digest(known: Reference | None) -> str | None:
    """sha256 of a reference's features, or of its mean and covariance."""
    if known is None:
        return None
    if known.features is not None:
        return pixels_digest(known.features)
    return pixels_digest(known.mean) + pixels_digest(known.covariance)


def _score(metric: str, estimate: Estimate, *facts: Any) -> Score:
    return Score(metric, estimate.value, estimate.low, estimate.high, *facts)


def _begun(artist: Artist, options: Options, job: Job, weights: str) -> dict[str, Any]:
    given = (options.recipe, job.rows, options.seed, options.batch, job.latents)
    facts = blocks.facts_of(artist.pipeline, *given, weights)
    return blocks.begin(options.output, job.rows, facts)


def _drawn_before(options: Options, job: Job) -> dict[str, Any]:
    if blocks.is_new(options.output):
        raise AtlasError(f"The folder '{options.output}' holds no run to score; draw it first.")
    source = Path(options.source)
    said = {
        "model": source.resolve().name if source.is_dir() else options.source,
        "recipe": asdict(options.recipe),
        "base_seed": options.seed,
        "batch": options.batch,
        "latents": digest(job.latents),
    }
    check_same(options.output, said, SAME)
    return read_provenance(options.output)


def _check_whole(options: Options, job: Job, tools: Tools, lack: list[int]) -> None:
    if lack:
        name = options.output / job.rows[lack[0]]["file"]
        more = f" and {len(lack) - 1:,} more are" if len(lack) > 1 else " is"
        raise AtlasError(
            f"'{name}'{more} missing, damaged or another picture; run without --score-only."
        )
    check_against_reference(pictures_of(options.output, job).size, options, job, tools)
