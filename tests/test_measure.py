"""Measured bytes: the meters, and what pages show where there is a GPU, a record or neither."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from unet_atlas import catalog, measure, records
from unet_atlas.build import build_unet
from unet_atlas.errors import AtlasError
from unet_atlas.measure import Measurement, Metered
from unet_atlas.tables import Table

TINY = {
    "sample_size": 16,
    "block_out_channels": [32, 64],
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    "cross_attention_dim": 32,
    "attention_head_dim": 4,
    "layers_per_block": 1,
}


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.json"
    file.write_text(json.dumps(TINY))
    return file


class Ledger:
    """A meter that says what it was told to and notes the order of the calls."""

    def __init__(self, *answers: tuple[int, int]):
        self.answers, self.results = list(answers), []

    def __call__(self, run) -> Metered:
        self.results.append(run())
        return Metered(self.results[-1], *self.answers.pop(0))


def test_weights_and_pass_are_metered_in_this_order(tiny: Path):
    ledger = Ledger((100, 150), (3, 47))
    found = measure.measure_build(tiny, "cpu", meter=ledger, batch=2)
    assert found == Measurement("tiny", 16, 2, weights=100, peak=47)
    assert ledger.results[1].shape == (2, 4, 16, 16)


def test_the_first_pass_is_not_metered(tiny: Path, monkeypatch):
    passes = []
    monkeypatch.setattr(measure, "_forward", lambda unet, inputs: passes.append(unet))
    measure.measure_build(tiny, "cpu", meter=Ledger((1, 1), (1, 1)))
    assert len(passes) == 2


def test_cpu_meter_counts_kept_and_highest_bytes():
    def run():
        scratch = torch.ones(1000, dtype=torch.float32)
        return scratch[:10] + 1

    metered = measure.cpu_meter(run)
    assert metered.kept == 40
    assert 4040 <= metered.peak < 4500


def test_the_cpus_allocator_agrees_with_the_prediction(tiny: Path):
    predicted = measure.predict(tiny, torch.float32)
    measured = measure.measure_build(tiny, "cpu")
    assert measured.weights == predicted.weights
    assert predicted.peak <= measured.peak  # kernels may add scratch space of their own


@pytest.mark.parametrize("device", ["meta", "nowhere"])
def test_devices_without_a_meter(device: str):
    with pytest.raises(AtlasError, match=device):
        measure.meter_for(device)


def test_meters_by_device(monkeypatch):
    assert measure.meter_for("cpu") is measure.cpu_meter
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert measure.meter_for("cuda") is not measure.cpu_meter


def test_cuda_meter_resets_the_statistics_after_what_is_already_placed(monkeypatch):
    marks = {"allocated": 100, "peak": 900}  # 900: the mark that loading left behind

    def reset(device):
        marks["peak"] = marks["allocated"]

    def run():
        marks.update(allocated=130, peak=180)
        return "done"

    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", reset)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: marks["allocated"])
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: marks["peak"])
    assert measure.cuda_meter()(run) == Metered("done", kept=30, peak=80)
    assert measure.cuda_meter()(lambda: None) == Metered(None, kept=0, peak=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_measures_what_meta_predicts(tiny: Path):
    predicted = measure.predict(tiny, torch.bfloat16)
    measured = measure.measure_build(tiny, "cuda", torch.bfloat16)
    assert predicted.weights <= measured.weights < 1.2 * predicted.weights + 2**20
    assert measured.peak > 0.5 * predicted.peak


def test_predicted_bytes_of_a_known_model():
    frame = measure.predicted_bytes(["sd-1.5"])
    row = frame.loc["sd-1.5"]
    assert row["weights, fp32"] == 4 * 859_520_964
    assert row["weights, fp16 or bf16"] == 2 * 859_520_964
    scores = 8 * 4096**2 * 4  # 8 heads, 64 × 64 positions each way, 32 bits
    assert row["activations, scores written out"] > 2 * scores > row["activations, fused attention"]
    html = measure.bytes_table(frame, "caption").to_html()
    assert ">1,639.4<" in html
    assert "caption, in MiB" in html


def test_shapes_name_every_input():
    assert measure.shapes(build_unet("sdxl-base-1.0"), latent=8) == {
        "sample": "1 × 4 × 8 × 8",
        "timestep": "1",
        "encoder_hidden_states": "1 × 77 × 2048",
        "text_embeds": "1 × 1280",
        "time_ids": "1 × 6",
        "output": "1 × 4 × 8 × 8",
    }
    assert measure.shapes(build_unet("sd-2.1-unclip-l"), latent=8)["class_labels"] == "1 × 1536"


def record(tiny: Path) -> records.Record:
    """A record of two made-up measurements."""
    found = Measurement(str(tiny), 16, 1, 123 * 2**20, 45 * 2**20)
    row = {**vars(found), "note": "kept out of the table"}
    return records.Record(
        measure.EXPERIMENT, "Test GPU", "bf16", {"torch": "1"}, "2026-01-01", 2, (row,)
    )


def test_gpu_lane_without_gpu_shows_the_record_as_a_record(tiny: Path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(records, "load", lambda folder=None: (record(tiny),))
    shown = measure.memory_on_gpu(["sd-1.5"])
    assert "ua-record" in shown._repr_html_()
    assert "Test GPU" in shown._repr_html_()
    assert "123.0 MiB" in repr(shown)


def test_gpu_lane_with_neither_says_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(records, "load", lambda folder=None: ())
    assert "not measured" in repr(measure.memory_on_gpu(["sd-1.5"]))


def test_gpu_lane_with_cuda_measures_live(tiny: Path, monkeypatch):
    live = replace(record(tiny), device="Live GPU")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(measure, "record_memory", lambda sources, dtype: live)
    shown = measure.memory_on_gpu(["sd-1.5"])
    assert isinstance(shown, Table)
    assert shown.caption.endswith("measured on Live GPU, bf16")
    assert list(shown.data["measured"]) == [123 * 2**20, 45 * 2**20]


def test_a_record_can_be_made_saved_and_shown(tiny: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(measure, "meter_for", lambda device: Ledger((10, 10), (1, 5)))
    made = measure.record_memory([str(tiny)], torch.float32, "cpu")
    folder = tmp_path / "records"
    folder.mkdir()
    records.save(made, folder)
    again = records.newest(measure.EXPERIMENT, measure.COLUMNS, folder)
    assert again.rows == made.rows
    assert again.dtype == "fp32"
    assert set(again.versions) == {"torch", "diffusers"}


def test_a_prediction_uses_the_models_own_size():
    assert (
        measure.predict("sd-2.1-v", torch.float16).latent == catalog.get("sd-2.1-v").resolution // 8
    )
