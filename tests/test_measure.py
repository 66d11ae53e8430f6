"""Measured bytes: the meters, and what pages show where there is a GPU, a record or neither."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from unet_atlas import catalog, measure
from unet_atlas.build import build_unet
from unet_atlas.errors import AtlasError
from unet_atlas.measure import Measurement, Metered

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


def test_predicted_and_measured_stand_side_by_side():
    predicted = Measurement("tiny", 16, 1, 100 * 2**20, 40 * 2**20)
    measured = replace(predicted, weights=123 * 2**20, peak=44 * 2**20)
    table = measure.side_by_side([predicted], [measured], "a test")
    assert table.caption == "Predicted on meta, measured on a test"
    assert list(table.data["measured"]) == [123 * 2**20, 44 * 2**20]
    assert list(table.shown["measured ÷ predicted"]) == ["1.230", "1.100"]
    assert "123.0 MiB" in table.to_text()


def test_a_prediction_uses_the_models_own_size():
    assert (
        measure.predict("sd-2.1-v", torch.float16).latent == catalog.get("sd-2.1-v").resolution // 8
    )
