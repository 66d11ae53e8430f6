"""The recorder: order, time, partial runs, single experiments, and what is left on the disk."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from gpu import sample_run, tiny

from unet_atlas.errors import AtlasError
from unet_atlas.gpu import facts, ladder, reading, recorder
from unet_atlas.gpu.bench import Bench, Job
from unet_atlas.gpu.recorder import Plan
from unet_atlas.gpu.run import EXPERIMENTS

SAMPLE = sample_run.content()["experiments"]


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def bench(said: list[str]) -> Bench:
    return tiny.bench(say=said.append)


@pytest.fixture
def chosen(tmp_path: Path) -> recorder.Subjects:
    return tiny.subjects(tiny.config(tmp_path))


class Script:
    """Experiments of made-up rows in the place of the real ones; notes which were run."""

    def __init__(self, *names: str):
        self.names, self.ran, self.failing = names or tuple(EXPERIMENTS), [], {}

    def __call__(self) -> tuple[Plan, ...]:
        return tuple(Plan(n, 10, 1, partial(self.jobs, n)) for n in self.names)

    def jobs(self, name: str, bench: Bench, *_: object) -> list[Job]:
        return [Job(name, partial(self.rows, name))]

    def rows(self, name: str) -> list[dict]:
        self.ran.append(name)
        if name in self.failing:
            raise self.failing[name]
        return SAMPLE[name]["rows"]


@pytest.fixture
def script(monkeypatch) -> Script:
    made = Script()
    monkeypatch.setattr(recorder, "plans", made)
    return made


def record(root: Path, bench: Bench, chosen: recorder.Subjects, *only: str) -> Path:
    return recorder.record(root, bench, only, chosen)


def content(file: Path) -> dict:
    return json.loads(file.read_text("utf-8"))


def left_on_disk(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.name != "tiny.json")


@pytest.mark.slow
def test_everything_on_a_tiny_model(tmp_path: Path, chosen):
    said = []
    bench = tiny.bench(quick=True, say=said.append)
    file = recorder.record(tmp_path, bench, (), chosen, seconds=100_000)
    found = content(file)
    assert not reading.fault(found)
    assert list(found["experiments"]) == [p.name for p in recorder.plans()]
    assert file.stat().st_size < 100_000
    assert left_on_disk(tmp_path) == ["records", f"records/{file.name}"]
    assert not [line for line in said if "fail" in line or "left out" in line]
    assert {r["note"] for r in found["experiments"]["ladder"]["rows"]} == {""}


def test_a_session_in_order_leaves_one_file(tmp_path: Path, bench, chosen, script, said):
    file = record(tmp_path, bench, chosen)
    assert script.ran == list(EXPERIMENTS)
    assert file.name == f"{recorder.name_of(recorder.start(bench))}.json"
    assert left_on_disk(tmp_path) == ["records", f"records/{file.name}"]
    assert not reading.fault(content(file))
    assert len(said) == len(EXPERIMENTS)
    assert "left] ceilings 1/1: ceilings" in said[0]


def test_what_else_lies_in_the_build_folder_stays(tmp_path: Path, bench, chosen, script):
    (tmp_path / "_build").mkdir()
    (tmp_path / "_build" / "html").mkdir()
    record(tmp_path, bench, chosen)
    assert "_build/html" in left_on_disk(tmp_path)
    assert "_build/gpu" not in left_on_disk(tmp_path)


def test_ctrl_c_keeps_what_is_finished(tmp_path: Path, bench, chosen, script, said):
    script.failing = {"stages": KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        record(tmp_path, bench, chosen)
    (partial_file,) = (tmp_path / "_build" / "gpu").iterdir()
    assert list(content(partial_file)["experiments"]) == ["ceilings", "build"]
    assert not any((tmp_path / "records").iterdir())
    script.ran, script.failing = [], {}
    said.clear()
    file = record(tmp_path, bench, chosen)
    assert script.ran == list(EXPERIMENTS)[2:]
    assert said[0] == "Done before and kept: ceilings, build."
    assert set(content(file)["experiments"]) == set(EXPERIMENTS)
    assert left_on_disk(tmp_path) == ["records", f"records/{file.name}"]


@pytest.mark.parametrize("what", ["seed", "torch", "diffusers", "cuda", "cudnn", "driver", "date"])
def test_another_session_is_not_gone_on_with(
    tmp_path: Path, bench, chosen, script, said, monkeypatch, what: str
):
    script.failing = {"build": KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        record(tmp_path, bench, chosen)
    (partial_file,) = (tmp_path / "_build" / "gpu").iterdir()
    other = content(partial_file)
    if what in ("seed", "date"):
        other[what] = 99 if what == "seed" else "2020-01-01"
    else:
        other["versions"][what] = "0.1"
    partial_file.write_text(json.dumps(other))
    script.ran, script.failing = [], {}
    record(tmp_path, bench, chosen)
    assert script.ran == list(EXPERIMENTS)
    assert "everything is done anew" in said[-len(EXPERIMENTS) - 1]


def test_a_partial_run_that_is_no_run_is_written_over(tmp_path: Path, bench, chosen, script):
    name = recorder.name_of(recorder.start(bench))
    (tmp_path / "_build" / "gpu").mkdir(parents=True)
    (tmp_path / "_build" / "gpu" / f"{name}.json").write_text("{")
    assert not reading.fault(content(record(tmp_path, bench, chosen)))
    assert script.ran == list(EXPERIMENTS)


def test_only_without_a_record_makes_one(tmp_path: Path, bench, chosen, script):
    file = record(tmp_path, bench, chosen, "blocks", "build")
    assert script.ran == list(content(file)["experiments"]) == ["ceilings", "build", "blocks"]


def test_only_takes_its_place_in_the_days_record(tmp_path: Path, bench, chosen, script):
    file = record(tmp_path, bench, chosen)
    before = content(file)
    script.ran = []
    before["experiments"]["build"]["rows"] = before["experiments"]["build"]["rows"][:1]
    file.write_text(json.dumps(before))
    assert record(tmp_path, bench, chosen, "build") == file
    after = content(file)
    assert script.ran == ["ceilings", "build"]
    assert len(after["experiments"]["build"]["rows"]) == 2
    assert list(after["experiments"]) == list(EXPERIMENTS)
    assert after["experiments"]["ladder"] == before["experiments"]["ladder"]


def test_a_record_that_is_joined_has_the_clocks_of_the_new_session(
    tmp_path: Path, bench, chosen, script, monkeypatch
):
    record(tmp_path, bench, chosen)
    monkeypatch.setattr(facts, "clocks", lambda device: {"sm_mhz": 1500.0})
    versions = facts.versions(bench.device)
    monkeypatch.setattr(facts, "versions", lambda device: {**versions, "triton": "9.9"})
    after = content(record(tmp_path, bench, chosen, "build"))
    assert after["clocks"] == {"sm_mhz": 1500.0}
    assert after["versions"]["triton"] == "9.9"
    assert set(after["experiments"]) == set(EXPERIMENTS)


def test_only_that_is_stopped_goes_on(tmp_path: Path, bench, chosen, script):
    script.failing = {"blocks": KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        record(tmp_path, bench, chosen, "build", "blocks")
    script.ran, script.failing = [], {}
    file = record(tmp_path, bench, chosen, "build", "blocks")
    assert script.ran == ["blocks"]
    assert set(content(file)["experiments"]) == {"ceilings", "build", "blocks"}


def test_only_into_a_record_of_other_versions_is_refused(tmp_path: Path, bench, chosen, script):
    file = record(tmp_path, bench, chosen)
    other = content(file)
    other["versions"]["torch"] = "0.1"
    file.write_text(json.dumps(other))
    with pytest.raises(AtlasError, match=f"records/{file.name} was made with other versions"):
        record(tmp_path, bench, chosen, "build")
    assert content(file) == other


def test_a_quick_session_has_a_file_of_its_own(tmp_path: Path, bench, chosen, script):
    full = record(tmp_path, bench, chosen)
    quick = record(tmp_path, replace(bench, quick=True), chosen)
    assert quick.name == full.name.replace(".json", "-quick.json")
    assert full.exists()


def test_a_job_that_fails_is_named_with_its_place(tmp_path: Path, bench, chosen, script, said):
    script.failing = {"build": RuntimeError("no kernel.\ntrace")}
    file = record(tmp_path, bench, chosen)
    assert "build" not in content(file)["experiments"]
    (line,) = [line for line in said if "failed" in line]
    assert "build failed: RuntimeError: no kernel (test_recorder.py:" in line


def test_nothing_measured_is_an_error(tmp_path: Path, bench, chosen, script):
    script.failing = dict.fromkeys(EXPERIMENTS, RuntimeError("no"))
    with pytest.raises(AtlasError, match="Nothing could be measured"):
        record(tmp_path, bench, chosen)
    assert not any((tmp_path / "records").iterdir())


@pytest.mark.parametrize("folder", ["records", "_build"])
def test_a_folder_that_cannot_be_written_to_is_found_before(
    tmp_path: Path, bench, chosen, script, folder: str
):
    (tmp_path / folder).write_text("a file in its place")
    with pytest.raises(AtlasError, match="make it writable"):
        record(tmp_path, bench, chosen)
    assert script.ran == []


def test_a_row_that_no_reader_would_take_is_left_out(tmp_path: Path, bench, chosen, script, said):
    good = SAMPLE["build"]["rows"]
    script.rows = lambda name: [{**good[0], "weights": 0}, *good] if name == "build" else []
    file = record(tmp_path, bench, chosen, "build")
    assert len(content(file)["experiments"]["build"]["rows"]) == len(good)
    assert any("a row is left out" in line and "weights" in line for line in said)


def test_no_row_is_begun_after_its_time(bench, chosen, said):
    moments = iter(range(1000))
    slow = replace(bench, now=lambda: next(moments), until=6.5)
    jobs = [Job(str(n), lambda: [{"a": 1}]) for n in range(4)]
    jobs.append(Job("long", lambda: [{"a": 1}], lambda: 100.0))
    made = recorder._run_jobs("x", jobs, slow, end=500)
    # each job looks at the clock twice: before it begins, and for its progress line
    assert len(made) == 4
    assert said[-1] == "  no time left for: long"
    made = recorder._run_jobs("x", jobs, replace(slow, until=-1), end=500)
    assert made == []
    assert said[-1] == "  no time left for: 0; 1; 2; 3; long"


def test_a_job_without_time_may_leave_a_row(bench, said):
    slow = replace(bench, now=lambda: 0.0, until=5.0)
    missed = {"a": 1.23456789, "note": "no time left"}
    jobs = [Job("long", lambda: [{"a": 1}], lambda: 9.0, lambda: missed)]
    assert recorder._run_jobs("x", jobs, slow, end=5) == [{"a": 1.23457, "note": "no time left"}]
    assert said == ["  no time left for: long"]


def test_time_that_one_does_not_need_goes_to_the_next():
    wanted = [Plan("a", 10, 1, None), Plan("b", 30, 2, None)]
    assert recorder._shares(wanted, False, 80) == [20, 80]
    assert recorder._shares(wanted, True, 60) == [20, 60]


def test_the_shares_of_a_session_are_within_its_time():
    assert sum(p.seconds for p in recorder.plans()) <= recorder.TOTAL <= 600
    assert sum(p.quick for p in recorder.plans()) <= recorder.TOTAL_QUICK <= 60
    names = [p.name for p in recorder.plans()]
    assert set(names) == set(EXPERIMENTS)
    assert names[0] == "ceilings"
    assert names[-1] == "throughput"
    # what comes on top: imports before, and the last row after
    assert recorder.TOTAL <= 600 - 80
    assert recorder.TOTAL_QUICK <= 60 - 15


def test_numbers_are_rounded_and_samples_are_few():
    row = recorder._rounded({"a": 1.23456789, "samples": [0.123456] * 80, "n": 3, "t": "x"})
    assert row == {"a": 1.23457, "samples": [0.1235] * 50, "n": 3, "t": "x"}


def test_the_rest_of_the_time_in_words():
    assert [recorder._clock(s) for s in (0.4, 61, 600, -3)] == ["0:00", "1:01", "10:00", "0:00"]


def test_a_live_run_stays_in_memory(tmp_path: Path, bench, script, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = recorder.live(["blocks", "ceilings"], replace(bench, quick=True))
    assert list(found.experiments) == ["ceilings", "blocks"]
    assert found.quick
    assert found.file == ""
    assert left_on_disk(tmp_path) == []


def test_what_real_sessions_measure():
    full, quick = recorder.subjects(False), recorder.subjects(True)
    names = ["SDXL, 1024 px", "SD 1.5, 512 px", "SD 2.1, 768 px"]
    assert [w.name for w in full.works] == names
    assert [w.model for w in quick.works] == ["sd-1.5"]
    assert full.batches[-1] == 64
    assert (full.sizes[0], full.sizes[-1]) == (256, 1536)
    assert set(quick.sizes) < set(full.sizes)


def test_throughput_takes_the_ladders_best_rung(bench):
    full = recorder.subjects(False)
    rungs = ladder.rungs(bench)
    row = {"work": "SDXL, 1024 px", "difference": 0.01}
    rows = {"ladder": [{**row, "rung": r.name, "milliseconds": 9 - i} for i, r in enumerate(rungs)]}
    assert recorder._chooser(bench, rows)(full.works[0]).name == "fp8"
    assert recorder._chooser(bench, rows)(full.works[1]).name == "CUDA graphs"
    assert recorder._chooser(bench, {})(full.works[0]).name == "CUDA graphs"
    quick = recorder._chooser(replace(bench, quick=True), {})(full.works[0])
    assert (quick.name, quick.compiled) == ("CUDA graphs", "regional")
    assert len(recorder._throughput(bench, full, rows)) == 14


def test_a_name_is_that_of_the_device(bench, monkeypatch):
    monkeypatch.setattr(facts, "device_name", lambda device: "NVIDIA H100 80GB HBM3 (test)")
    run = replace(recorder.start(bench), date="2026-11-24")
    assert recorder.name_of(run) == "nvidia-h100-80gb-hbm3--test-2026-11-24"
