"""The ladder's rows, its order, what it does with a rung that fails, and the best rung."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from gpu import tiny

from unet_atlas.gpu import guided, ladder, reading
from unet_atlas.gpu.recipes import ladder as all_rungs


@pytest.fixture
def work(tmp_path: Path) -> ladder.Work:
    return tiny.work(tiny.config(tmp_path))


@pytest.fixture(autouse=True)
def unmetered(monkeypatch) -> None:
    """Bytes are not followed, which takes seconds a call."""
    monkeypatch.setattr(guided, "highest", lambda bench, call: call() or 1000)


def eager_jobs(bench, work: ladder.Work) -> list:
    """The jobs of the rungs that need no compiler."""
    return ladder.jobs(bench, [work])[:7]


def rows(jobs: list) -> list[dict]:
    return [dict(row) for job in jobs for row in job.run()]


def test_rows_and_differences(work: ladder.Work):
    found = rows(eager_jobs(tiny.bench(), work))
    assert not any(reading.fault_of_row("ladder", row) for row in found)
    assert [r["note"] for r in found] == [""] * 7
    by = {r["rung"]: r["difference"] for r in found}
    assert by["fp32"] == 0.0
    assert by["tf32"] < 1e-3  # on the CPU, tf32 is fp32
    assert 1e-3 < by["bf16"] < 0.05
    assert 1e-3 < by["fused QKV"] < 0.05
    assert found[2]["peak"] < 0.7 * found[0]["peak"]
    assert {r["compile_seconds"] for r in found} == {0}


def test_compiled_rungs_in_a_quick_session(tmp_path: Path):
    work = tiny.work(tiny.config(tmp_path, **tiny.ONE_LEVEL))
    bench = tiny.bench(quick=True)
    regional, graphs = rows(ladder.jobs(bench, [work])[-2:])
    assert (regional["rung"], graphs["rung"]) == ("compile, regional", "CUDA graphs")
    assert regional["compile_seconds"] > 0 == graphs["compile_seconds"]
    assert regional["milliseconds"] < 1000 * regional["compile_seconds"]
    assert regional["difference"] is None  # nothing ran in fp32
    assert not regional["note"]


def test_a_rung_that_fails_is_a_row_and_the_ladder_goes_on(work: ladder.Work, monkeypatch):
    whole = guided.place

    def place(bench, source, recipe):
        if recipe.name == "tf32":
            raise torch.OutOfMemoryError("CUDA out of memory")
        if recipe.name == "fused attention":
            raise RuntimeError("no kernel image is available")
        return whole(bench, source, recipe)

    monkeypatch.setattr(guided, "place", place)
    found = rows(eager_jobs(tiny.bench(), work)[:5])
    notes = {r["rung"]: r["note"] for r in found}
    assert notes == {
        "fp32": "",
        "tf32": "out of memory",
        "bf16": "",
        "fused attention": "RuntimeError: no kernel image is available",
        "cuDNN attention": "",
    }
    failed = found[1]
    assert failed["milliseconds"] is failed["peak"] is failed["difference"] is None
    assert failed["macs"] == found[0]["macs"]
    assert not any(reading.fault_of_row("ladder", row) for row in found)


def test_the_first_work_comes_first_and_what_is_slow_to_compile_last(work: ladder.Work):
    works = [work, replace(work, name="b"), replace(work, name="c")]
    names = [job.name for job in ladder.jobs(tiny.bench(), works)]
    assert names[:11] == [f"tiny, 64 px: {r.name}" for r in all_rungs()]
    assert names[17:19] == ["b: fused QKV", "c: fp32"]
    assert names[25:28] == ["b: compile, regional", "b: compile, whole", "b: CUDA graphs"]
    assert names[-2:] == ["b: fp8", "c: fp8"]
    assert len(names) == len(set(names)) == 33


def test_a_rung_without_time_says_so(work: ladder.Work):
    job = ladder.jobs(tiny.bench(), [work])[-1]
    left_out = dict(job.missed())
    assert not reading.fault_of_row("ladder", left_out)
    assert (left_out["rung"], left_out["note"]) == ("fp8", "no time left")
    assert left_out["milliseconds"] is None


def test_what_a_rung_needs(work: ladder.Work):
    shop = guided.Shop(tiny.bench())
    by = {r.name: r for r in all_rungs()}

    def needs(name: str, **bench) -> float:
        return ladder._needs(tiny.bench(**bench), shop, work, by[name])

    assert needs("bf16") == ladder.NEEDS[""]
    assert needs("CUDA graphs") == needs("compile, whole") == ladder.NEEDS["whole"]
    assert needs("compile, regional", quick=True) == ladder.NEEDS["regional"] / 4
    shop.take(work.model, by["compile, whole"])
    assert needs("CUDA graphs") == ladder.NEEDS[""]


def row(rung: str, milliseconds: float | None, difference: float | None = 0.01) -> dict:
    return {
        "work": "w",
        "rung": rung,
        "milliseconds": milliseconds,
        "difference": difference,
    }


@pytest.mark.parametrize(
    ("found", "name"),
    [
        ([row("fp32", 9, 0.0), row("bf16", 5), row("tf32", 7)], "bf16"),
        ([row("bf16", 5), row("fp8", 3, 0.2)], "bf16"),  # too far from fp32
        ([row("bf16", 5), row("fp8", 3, 0.04)], "fp8"),
        ([row("bf16", 5), row("a rung of other days", 2)], "bf16"),
        ([row("bf16", 5), row("CUDA graphs", None, None)], "bf16"),  # failed
        ([row("bf16", 5, None)], "bf16"),
        ([{**row("bf16", 5), "work": "another"}], None),
    ],
)
def test_the_best_rung(found: list[dict], name: str | None):
    best = ladder.best(found, "w", all_rungs())
    assert (best and best.name) == name


def test_works_of_the_catalogue():
    work = ladder.from_catalogue("SD 2.1", "sd-2.1-v")
    assert (work.name, work.latent, work.resolution) == ("SD 2.1, 768 px", 96, 768)
    assert work.vae.id == "kl-f8-768"


def test_distance():
    a = torch.tensor([3.0, 4.0])
    assert ladder.distance(a, a) == 0
    assert ladder.distance(torch.zeros(2), a) == 1
