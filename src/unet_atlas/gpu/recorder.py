"""Runs the experiments in order, within their time, and keeps what is finished.

A session's partial run lies under ``_build/gpu/`` until it is whole; then it becomes one file under
``records/``. Book: the part *On a GPU*.
"""

from __future__ import annotations

import json
import math
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
import torch._dynamo

from unet_atlas.errors import AtlasError
from unet_atlas.files import write_text
from unet_atlas.gpu import (
    building,
    ceilings,
    decoding,
    facts,
    ladder,
    placement,
    reading,
    resolution,
    stages,
    throughput,
)
from unet_atlas.gpu.bench import QUICK, Bench, Job, attempt, reason, tidy
from unet_atlas.gpu.ladder import Work, from_catalogue
from unet_atlas.gpu.run import Experiment, Run

# seconds of all experiments on an H100; imports and the end of the last job come on top
TOTAL, TOTAL_QUICK = 510.0, 40.0
COMPARED = ("torch", "diffusers", "cuda", "cudnn", "driver")  # versions within one record
MOST_SAMPLES = 50
DIGITS, DIGITS_OF_SAMPLES = 6, 4  # significant
Rows = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class Subjects:
    """What is measured: ids of the catalogue, or configurations."""

    build: tuple[str, ...]
    stages: tuple[str, ...]
    works: tuple[Work, ...]
    batched: tuple[Work, ...]
    batches: tuple[int, ...]
    scaled: tuple[str, ...]
    sizes: tuple[int, ...]
    blocks: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """One experiment: its share of a session in seconds, full and quick, and its jobs."""

    name: str
    seconds: float
    quick: float
    jobs: Callable[[Bench, Subjects, Rows], list[Job]]


def plans() -> tuple[Plan, ...]:
    """The experiments in their order, with what each should take on an H100.

    The shares of a full session are upper bounds, set from the work that there is: a guided step
    of SDXL takes 300 ms in fp32 and 30 to 50 in bf16, building it 2 s, compiling it whole a
    minute. What an experiment doesn't need goes to those after it. Throughput stands last: its
    rows take longest, and when one goes on beyond its time, nothing after it is lost.
    """
    return (
        Plan("ceilings", 12, 3, lambda b, s, r: ceilings.jobs(b)),  # 6 rows of 1 to 2 s
        Plan("build", 36, 4, lambda b, s, r: building.jobs(b, s.build)),  # 15 rows of 2 to 3 s
        Plan("stages", 22, 4, lambda b, s, r: stages.jobs(b, s.stages)),  # mostly counting on meta
        # 3 works: 7 rungs of 3 to 5 s, regional 15 s, whole 30 to 60 s, fp8 as much again
        Plan("ladder", 275, 15, lambda b, s, r: ladder.jobs(b, s.works)),
        Plan("decode", 28, 2, lambda b, s, r: decoding.jobs(b, s.works)),  # 3 compilations of 7 s
        Plan("resolution", 25, 3, lambda b, s, r: resolution.jobs(b, s.scaled, s.sizes)),
        Plan("blocks", 12, 2, lambda b, s, r: placement.jobs(b, s.blocks)),  # 6 rows of 1 to 2 s
        Plan("throughput", 100, 7, _throughput),  # SDXL: 60 s to compile, 40 s to run
    )


def _throughput(bench: Bench, subjects: Subjects, rows: Rows) -> list[Job]:
    return throughput.jobs(bench, subjects.batched, _chooser(bench, rows), subjects.batches)


def subjects(quick: bool) -> Subjects:
    """What a session measures; a quick one keeps to SD 1.5 where one model shows enough."""
    sdxl, sd15 = from_catalogue("SDXL", "sdxl-base-1.0"), from_catalogue("SD 1.5", "sd-1.5")
    sd21 = from_catalogue("SD 2.1", "sd-2.1-v")
    pair = ("sd-1.5", "sdxl-base-1.0")
    return Subjects(
        build=building.QUICK_MODELS if quick else building.MODELS,
        stages=pair[:1] if quick else pair,
        works=(sd15,) if quick else (sdxl, sd15, sd21),
        batched=(sd15,) if quick else (sdxl, sd15),
        batches=throughput.QUICK_BATCHES if quick else throughput.BATCHES,
        scaled=pair[:1] if quick else pair,
        sizes=resolution.QUICK_SIZES if quick else resolution.SIZES,
        blocks=pair,
    )


def live(experiments: Sequence[str], bench: Bench | None = None) -> Run:
    """A quick session in memory, for a page that is built where CUDA is there.

    Raises:
        AtlasError: nothing could be measured.
    """
    bench = bench or Bench(torch.device("cuda", 0), QUICK, quick=True)
    seconds = sum(p.quick for p in plans() if p.name in experiments)
    return measure(bench, start(bench), experiments, subjects(quick=True), seconds)


def start(bench: Bench) -> Run:
    """An empty run of the bench's device, today."""
    device = bench.device
    return Run(
        device=facts.device_name(device),
        date=date.today().isoformat(),
        seed=bench.seed,
        quick=bench.quick,
        versions=facts.versions(device),
        clocks=facts.clocks(device),
    )


def record(
    root: Path,
    bench: Bench,
    only: Sequence[str] = (),
    chosen: Subjects | None = None,
    seconds: float | None = None,
) -> Path:
    """Measure on the bench's device, and write ``records/<device>-<date>.json`` below ``root``.

    A session that was stopped goes on after its last finished experiment. With ``only``, these
    experiments take their places in the record of the same device and day, if there is one; the
    ceilings are always among them, because all that a page compares with them is of one card.

    Raises:
        AtlasError: a folder is not writable, the record is of another session, or nothing could
            be measured.
    """
    run = start(bench)
    only = tuple(dict.fromkeys(["ceilings", *only])) if only else ()
    target = root / "records" / f"{name_of(run)}.json"
    partial = root / "_build" / "gpu" / f"{'-'.join([name_of(run), *only])}.json"
    for file in (target, partial):
        _check_writable(file)
    run = _record_before(run, target) if only else run
    begun = _begun(bench, run, partial)
    wanted = [p.name for p in plans() if (not only or p.name in only) and p.name not in begun]
    run = replace(run, experiments={**run.experiments, **begun})
    seconds = seconds or (TOTAL_QUICK if bench.quick else TOTAL)
    chosen = chosen or subjects(bench.quick)
    keep = [*begun]

    def save(run: Run, name: str) -> None:
        keep.append(name)
        _write(partial, replace(run, experiments={k: run.experiments[k] for k in keep}))

    run = measure(bench, run, wanted, chosen, seconds, save)
    _write(target, run)
    _clear_away(partial)
    return target


def name_of(run: Run) -> str:
    """The name of a run's file: device, day, and whether it was a quick one."""
    plain = "".join(c if c.isalnum() else "-" for c in run.device.lower()).strip("-")
    return f"{plain}-{run.date}{'-quick' if run.quick else ''}"


def measure(
    bench: Bench,
    run: Run,
    names: Sequence[str],
    chosen: Subjects,
    seconds: float,
    save: Callable[[Run, str], None] = lambda run, name: None,
) -> Run:
    """The run with these experiments measured anew, in the order of :func:`plans`.

    Args:
        seconds: of all of them together; each gets its share, and what those before it left.
        save: called after each experiment.

    Raises:
        AtlasError: none of them gave a row.
    """
    wanted = [p for p in plans() if p.name in names]
    begin, found = bench.now(), []
    for plan, share in zip(wanted, _shares(wanted, bench.quick, seconds), strict=True):
        limited = replace(bench, until=begin + share)
        experiment = _experiment(plan, limited, chosen, run, begin + seconds)
        if experiment.rows:
            found.append(plan.name)
            run = replace(run, experiments={**run.experiments, plan.name: experiment})
            save(run, plan.name)
    if wanted and not found:
        raise AtlasError(f"Nothing could be measured on {run.device}; its messages say why.")
    return run


def _shares(wanted: Sequence[Plan], quick: bool, seconds: float) -> list[float]:
    """Seconds after the beginning at which each experiment stops beginning rows."""
    shares = [p.quick if quick else p.seconds for p in wanted]
    return [seconds * done / sum(shares) for done in accumulate(shares)]


def _experiment(plan: Plan, bench: Bench, chosen: Subjects, run: Run, end: float) -> Experiment:
    """An experiment's rows and seconds; afterwards its models are gone."""
    begin = bench.now()
    earlier = {name: e.rows for name, e in run.experiments.items()}
    rows = _run_jobs(plan.name, plan.jobs(bench, chosen, earlier), bench, end)
    torch._dynamo.reset()
    attempt(lambda: tidy(bench))
    seconds = _significant(bench.now() - begin, DIGITS_OF_SAMPLES)
    return Experiment(seconds, tuple(_sound(bench, plan.name, rows)))


def _run_jobs(name: str, jobs: Sequence[Job], bench: Bench, end: float) -> list[dict[str, Any]]:
    """All jobs for which there is time; one that fails is named, and the next one begins."""
    rows, missed = [], []
    for number, job in enumerate(jobs, start=1):
        if bench.left < job.needs():
            missed.append(job.name)
            rows += [_rounded(job.missed())] if job.missed else []
            continue
        left = _clock(end - bench.now())
        bench.say(f"[{left} left] {name} {number}/{len(jobs)}: {job.name}")
        made, note = _rows(job)
        rows += made
        if note:
            bench.say(f"  {job.name} failed: {note}")
    if missed:
        bench.say(f"  no time left for: {'; '.join(missed)}")
    return rows


def _rows(job: Job) -> tuple[list[dict[str, Any]], str]:
    """A job's rows, rounded; and where and why it failed, if it did."""
    rows: list[dict[str, Any]] = []
    try:
        rows.extend(_rounded(row) for row in job.run())
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return rows, f"{reason(error)} ({Path(frame.filename).name}:{frame.lineno})"
    return rows, ""


def _sound(
    bench: Bench, name: str, rows: Sequence[Mapping[str, Any]]
) -> Iterator[Mapping[str, Any]]:
    """The rows that a reader of the record would accept; others are named."""
    for row in rows:
        if fault := reading.fault_of_row(name, row):
            bench.say(f"  a row is left out: {fault}")
        else:
            yield row


def _chooser(bench: Bench, rows: Rows) -> throughput.Choice:
    """The best recipe that the ladder found; without a ladder, its last uncontested one."""
    rungs = ladder.rungs(bench)
    usual = next(r for r in rungs if r.graphs)
    return lambda work: ladder.best(rows.get("ladder", ()), work.name, rungs) or usual


def _record_before(run: Run, target: Path) -> Run:
    """The record into which single experiments go, with this session's clocks; or the empty run.

    Raises:
        AtlasError: the record was made with other versions.
    """
    content = _read(target)
    if content is None:
        return run
    before = reading.run_of(content, target.name)
    if _identity(before) != _identity(run):
        raise AtlasError(
            f"records/{target.name} was made with other versions or another seed than are here; "
            "leave out --only to measure everything anew."
        )
    return replace(run, experiments=before.experiments)


def _begun(bench: Bench, run: Run, partial: Path) -> Mapping[str, Experiment]:
    """What an earlier session of the same device, day, versions and seed has finished."""
    content = _read(partial)
    if content is None:
        return {}
    before = reading.run_of(content)
    if _identity(before) != _identity(run):
        bench.say(f"{partial.name} is of other versions or another seed: everything is done anew.")
        return {}
    bench.say(f"Done before and kept: {', '.join(before.experiments)}.")
    return before.experiments


def _identity(run: Run) -> tuple[Any, ...]:
    return run.device, run.date, run.seed, run.quick, *map(run.versions.get, COMPARED)


def _read(file: Path) -> Mapping[str, Any] | None:
    """A run's JSON object; ``None`` where the file is missing or no run."""
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return None if reading.fault(content) else content


def _write(file: Path, run: Run) -> None:
    write_text(file, json.dumps(reading.content_of(run), ensure_ascii=False, indent=1) + "\n")


def _check_writable(file: Path) -> None:
    """Find out before the measurement whether the file can be written."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=file.parent):
            pass
    except OSError as error:
        raise AtlasError(
            f"'{file.parent}' can't be written to: {error.strerror}; make it writable."
        ) from None


def _clear_away(partial: Path) -> None:
    """Remove the partial run, and the folders around it that are empty then."""
    partial.unlink(missing_ok=True)
    for folder in (partial.parent, partial.parent.parent):
        if not any(folder.iterdir()):
            folder.rmdir()


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _short(value) for name, value in row.items()}


def _short(value: Any) -> Any:
    if isinstance(value, list):
        return [_significant(v, DIGITS_OF_SAMPLES) for v in value[:MOST_SAMPLES]]
    return _significant(value, DIGITS) if isinstance(value, float) else value


def _significant(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}") if math.isfinite(value) else value


def _clock(seconds: float) -> str:
    whole = max(0, round(seconds))
    return f"{whole // 60}:{whole % 60:02d}"
