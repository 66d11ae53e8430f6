"""MACs and bytes: every figure that is known from elsewhere, and arithmetic on small layers."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
import torch

from unet_atlas import catalog, components, config, cost
from unet_atlas.build import build_unet, from_config
from unet_atlas.errors import AtlasError
from unet_atlas.roles import ATTENTION_PRODUCTS, CROSS_ATTENTION, OPERATIONS, SELF_ATTENTION

EXPECTED = json.loads((Path(__file__).parent / "expected.json").read_text("utf-8"))
FIGURES = [
    (model, int(size.rpartition("@")[2]), figures)
    for model, facts in EXPECTED.items()
    for size, figures in facts["gmacs_batch1_77tokens"].items()
]
TINY = {
    "sample_size": 8,
    "block_out_channels": (32, 64),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "cross_attention_dim": 16,
    "attention_head_dim": 4,
    "layers_per_block": 1,
    "norm_num_groups": 8,
}


@cache
def counted(model: str, latent: int) -> cost.Cost:
    return cost.count(build_unet(model), latent=latent)


def tiny(**changes: object):
    return from_config(config.check({**TINY, **changes}, "tiny"), "tiny")


def giga(value: float) -> int:
    """MACs of a figure that is written in thousand millions."""
    return round(value * 1e9)


@pytest.mark.parametrize(("model", "latent", "figures"), FIGURES)
def test_known_macs(model: str, latent: int, figures: dict[str, float]) -> None:
    found = counted(model, latent)
    by = found.by_operation()
    assert found.total == giga(figures["with_sdpa"])
    assert found.without_attention == giga(figures["no_sdpa"])
    assert by[SELF_ATTENTION] == giga(figures["sdpa_self"])
    assert by[CROSS_ATTENTION] == giga(figures["sdpa_cross"])
    assert found.params == EXPECTED[model]["unet_params"]


@pytest.mark.parametrize(
    ("model", "total"),
    [
        ("sd-1.5", 401.637),
        ("sd-2.1-base", 402.129),
        ("sd-2.1-v", 1074.553),
        ("sdxl-base-1.0", 3380.618),
        ("sdxl-refiner-1.0", 3643.005),
    ],
)
def test_native_size_is_the_default(model: str, total: float) -> None:
    found = cost.count(build_unet(model))
    assert round(found.total / 1e9, 3) == total
    assert found.latent == (catalog.get(model).resolution // 8,) * 2
    assert found == counted(model, catalog.get(model).resolution // 8)


@pytest.mark.parametrize(
    ("model", "shares"),
    [
        ("sd-1.5", {256: 4.7, 512: 15.7, 768: 29.2, 1024: 42.2}),
        ("sdxl-base-1.0", {512: 3.5, 768: 7.0, 1024: 11.6, 1536: 22.5}),
    ],
)
def test_share_of_attention_products_by_resolution(model: str, shares: dict[int, float]) -> None:
    for pixels, share in shares.items():
        found = counted(model, pixels // 8)
        assert round(100 * (1 - found.without_attention / found.total), 1) == share


def test_flops_and_the_work_of_a_guided_step() -> None:
    sdxl, sd15 = counted("sdxl-base-1.0", 128), counted("sd-1.5", 64)
    assert round(sdxl.flops / 1e9, 1) == 6761.2
    assert round(sd15.flops / 1e12, 3) == 0.803
    guided = cost.count(build_unet("sdxl-base-1.0"), batch=2)
    assert guided.flops == 2 * sdxl.flops
    assert round(guided.flops / 1e12, 2) == 13.52
    assert round(2 * sd15.flops / 1e12, 3) == 1.607
    assert round(sdxl.total / sd15.total, 1) == 8.4


@pytest.mark.parametrize(("pixels", "gmacs"), [(512, 1257), (768, 2877), (1024, 5235)])
def test_decoder(pixels: int, gmacs: int) -> None:
    assert round(components.decode_macs(catalog.get("sdxl-base-1.0").vae, pixels) / 1e9) == gmacs


def test_decoding_sdxl_is_worth_one_and_a_half_passes() -> None:
    decode = components.decode_macs(catalog.get("sdxl-base-1.0").vae, 1024)
    assert round(decode / counted("sdxl-base-1.0", 128).total, 2) == 1.55


def test_text_encoders() -> None:
    parts = [
        catalog.get("sd-1.5").text_encoders[0],
        catalog.get("sd-2.1-v").text_encoders[0],
        catalog.get("sdxl-base-1.0").text_encoders[1],
    ]
    assert [round(components.text_macs(p) / 1e9, 3) for p in parts] == [6.649, 22.564, 48.932]


def test_sums_and_names_of_cells() -> None:
    found = counted("sdxl-base-1.0", 128)
    assert sum(found.by_operation().values()) == sum(found.by_stage().values()) == found.total
    assert set(found.by_operation()) <= set(OPERATIONS)
    assert not {op for (stage, op) in found.macs if stage in ("down 0", "up 2")} & {
        *ATTENTION_PRODUCTS
    }
    assert all(n > 0 for n in found.macs.values())


def test_macs_grow_with_the_batch_and_text_work_with_the_tokens() -> None:
    unet = tiny()
    one, four = cost.count(unet), cost.count(unet, batch=4)
    assert {cell: 4 * n for cell, n in one.macs.items()} == dict(four.macs)
    short, long = (cost.count(unet, tokens=n).by_operation() for n in (10, 30))
    assert long[CROSS_ATTENTION] == 3 * short[CROSS_ATTENTION]
    assert long[SELF_ATTENTION] == short[SELF_ATTENTION]


def test_self_attention_grows_with_the_square_of_the_cells() -> None:
    unet = build_unet("sd-1.5")
    small, large = (cost.count(unet, latent=n).by_operation() for n in (16, 32))
    assert large[SELF_ATTENTION] == 16 * small[SELF_ATTENTION]
    assert large["res conv"] == 4 * small["res conv"]


def test_odd_and_oblong_latents() -> None:
    assert cost.count(tiny(), latent=9).latent == (9, 9)  # diffusers pads on the way up
    oblong = cost.count(tiny(sample_size=(8, 16)))
    assert oblong.latent == (8, 16)
    square = cost.count(tiny())
    assert oblong.by_operation()["res conv"] == 2 * square.by_operation()["res conv"]
    assert oblong.by_operation()[SELF_ATTENTION] == 4 * square.by_operation()[SELF_ATTENTION]


def test_a_live_model_is_counted_as_its_twin_on_meta() -> None:
    checked = config.check(dict(TINY), "tiny")
    live = from_config(checked, "tiny", "cpu", torch.bfloat16)
    assert cost.count(live) == cost.count(tiny())
    assert live.device.type == "cpu"


def test_errors_name_the_size() -> None:
    with pytest.raises(AtlasError, match="out of range"):
        cost.count(tiny(), latent=0)
    with pytest.raises(AtlasError, match="multiple of 8"):
        cost.count(tiny(), resolution=500)
    with pytest.raises(AtlasError, match="give one of them"):
        cost.count(tiny(), resolution=512, latent=64)
    with pytest.raises(AtlasError, match="batch 0"):
        cost.count(tiny(), batch=0)


def test_forward_failure_names_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    unet = tiny()

    def refuse(**inputs: object) -> None:
        raise RuntimeError("shapes don't fit.\nlong trace")

    monkeypatch.setattr(unet, "forward", refuse)
    with pytest.raises(
        AtlasError, match=r"tiny: the forward pass fails on a latent of 8 × 8: shap"
    ):
        cost.count(unet)


# Bytes. What a pass writes is followed tensor by tensor, so a layer can be checked by hand.


def test_bytes_written_by_the_first_convolution() -> None:
    unet = tiny()
    written = cost.memory(unet, latent=8).written
    assert written["stem", "other conv"] == 32 * 8 * 8 * 4  # one output of 32 channels, float32
    assert written["head", "other conv"] == 4 * 8 * 8 * 4
    half = cost.memory(unet, latent=8, dtype=torch.float16).written
    assert half["stem", "other conv"] == 32 * 8 * 8 * 2


def test_bytes_written_by_feed_forward_linears() -> None:
    # one transformer block a module: two at level 0 on the way up, one down, one in the middle
    written = cost.memory(tiny(), latent=8).written
    block = (8 * 32 + 32) * 64  # 2 × 4 × width out, then width, on 64 cells
    assert written["down 0", "feed-forward"] == block * 4
    assert written["up 1", "feed-forward"] == 2 * block * 4


def test_fused_attention_writes_its_output_only() -> None:
    unet = tiny()
    fused, plain = (cost.memory(unet, latent=8, fused_attention=f) for f in (True, False))
    output = 64 * 32 * 4  # cells × width × float32; diffusers then divides it by a factor
    assert fused.written["down 0", SELF_ATTENTION] == 2 * output
    scores = 4 * 64 * 64 * 4  # heads × cells² × float32
    assert plain.written["down 0", SELF_ATTENTION] >= 2 * scores  # before and after the softmax
    assert plain.peak > fused.peak
    assert plain.weights == fused.weights
    same = {cell for cell in fused.written if cell[1] not in ATTENTION_PRODUCTS}
    assert {c: fused.written[c] for c in same} == {c: plain.written[c] for c in same}


def test_peak_lies_between_the_largest_need_and_all_that_is_written() -> None:
    unet = build_unet("sd-1.5")
    found = cost.memory(unet, dtype=torch.float16)
    gate = 2 * (8 * 320) * 64 * 64  # the input of a gated feed-forward at level 0, in float16
    assert gate < found.peak < found.activations
    assert found.weights == 2 * 859_520_964


def test_peak_follows_batch_and_dtype() -> None:
    unet = tiny()
    one, eight = cost.memory(unet), cost.memory(unet, batch=8)
    assert eight.activations == pytest.approx(8 * one.activations, rel=0.02)
    half = cost.memory(unet, dtype=torch.bfloat16)
    assert half.weights * 2 == one.weights
    assert half.peak < 0.6 * one.peak


def test_weight_bytes() -> None:
    unet = build_unet("sd-1.5")
    assert cost.weight_bytes(unet) == 4 * 859_520_964
    assert cost.weight_bytes(unet, torch.float16) == 2 * 859_520_964
    assert cost.weight_bytes(unet, torch.float8_e4m3fn) == 859_520_964


def test_peak_by_hand_on_a_live_pass() -> None:
    """The peak of real tensors, followed by the same rule, is that of the meta twin."""
    live = from_config(config.check(dict(TINY), "tiny"), "tiny", "cpu")
    assert cost.memory(live).peak == cost.memory(tiny()).peak


# Traffic. What an operation must read and write, by hand, on layers without storage.


def empty(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(*shape, device="meta", dtype=dtype)


def test_a_convolution_reads_input_weight_and_bias_and_writes_its_output() -> None:
    conv = torch.nn.Conv2d(4, 8, 3, padding=1, device="meta")
    moved = 2 * 4 * 100 + (8 * 4 * 9 + 8) + 2 * 8 * 100
    assert cost.dispatched_bytes(conv, empty(2, 4, 10, 10)) == 4 * moved
    half = conv.to(torch.bfloat16)
    assert cost.dispatched_bytes(half, empty(2, 4, 10, 10, dtype=torch.bfloat16)) == 2 * moved


def test_a_linear_layer_likewise() -> None:
    linear = torch.nn.Linear(6, 10, device="meta")
    assert cost.dispatched_bytes(linear, empty(3, 5, 6)) == 4 * (15 * 6 + 60 + 10 + 15 * 10)


def test_fused_attention_reads_qkv_and_writes_its_output() -> None:
    query, text = empty(1, 2, 7, 4), empty(1, 2, 5, 4)
    attend = torch.nn.functional.scaled_dot_product_attention
    fused = cost.dispatched_bytes(attend, query, text, text)
    assert fused == 4 * (56 + 40 + 40 + 56)
    values = empty(1, 2, 5, 12)  # as wide as the output
    assert cost.dispatched_bytes(attend, query, text, values) == 4 * (56 + 40 + 120 + 168)
    plain = cost.dispatched_bytes(attend, query, text, text, fused_attention=False)
    assert plain > fused + 4 * 2 * (2 * 7 * 5)  # the scores are written and read


def test_views_are_free_and_repeated_values_are_read_once() -> None:
    x = empty(3, 5, 6)
    assert cost.dispatched_bytes(lambda t: t.transpose(0, 1)[1:].unflatten(2, (2, 3)), x) == 0
    assert cost.dispatched_bytes(lambda t: t.expand(9, 3, 5, 6).clone(), x) == 4 * (90 + 9 * 90)
    assert cost.dispatched_bytes(lambda t: t * t, x) == 4 * 2 * 90
    assert cost.dispatched_bytes(torch.empty_like, x) == 0


def test_a_slice_is_read_as_far_as_it_goes() -> None:
    assert cost.dispatched_bytes(lambda t: t[:, :2] + 1, empty(4, 8)) == 4 * 2 * 8


def test_what_is_changed_in_place_is_read_and_written() -> None:
    assert cost.dispatched_bytes(lambda t: t.add_(1), empty(90)) == 4 * 2 * 90


def test_traffic_of_a_unet() -> None:
    unet = tiny()
    found = cost.traffic(unet, latent=8)
    assert list(found.moved) == ["stem", "down 0", "down 1", "mid", "up 0", "up 1", "head"]
    assert found.total == sum(found.moved.values())
    memory = cost.memory(unet, latent=8)
    assert found.total > memory.weights + memory.activations  # all is written, and weights read
    head = 2 * 32 * 64 + 2 * 8 + 2 * 32  # norm: in, out, statistics of the groups, its weights
    head += 2 * 32 * 64 + (32 * 64 + 4 * 32 * 9 + 4 + 4 * 64)  # SiLU; the last convolution
    assert found.moved["head"] == 4 * head
    assert found.operations["head"] == 3


def test_traffic_follows_dtype_batch_and_attention() -> None:
    unet = tiny()
    one, four = cost.traffic(unet), cost.traffic(unet, batch=4)
    assert one.total < four.total < 4 * one.total  # weights are read once a pass
    assert one.operations == four.operations
    assert cost.traffic(unet, dtype=torch.bfloat16).total < 0.6 * one.total
    plain = cost.traffic(unet, fused_attention=False)
    assert plain.total > one.total
    assert plain.moved["head"] == one.moved["head"]


def test_a_live_model_moves_what_its_twin_on_meta_moves() -> None:
    live = from_config(config.check(dict(TINY), "tiny"), "tiny", "cpu")
    assert cost.traffic(live) == cost.traffic(tiny())
