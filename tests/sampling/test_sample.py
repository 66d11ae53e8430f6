"""Sampling: a picture depends on its caption, its seed and the recipe, and on nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_pipelines as tiny
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler
from PIL import Image

from unet_atlas import sampling
from unet_atlas.errors import AtlasError
from unet_atlas.sampling import Recipe, pictures, samplers

CAPTIONS = tiny.CAPTIONS
ORDER = [5, 2, 7, 0, 1, 3, 6, 4]
SIZES = {"original_size": (16, 16), "crops_coords_top_left": (0, 4), "target_size": (32, 32)}
NOISE = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
QUICK = Recipe(steps=2, guidance=3.0)
ALL = (*samplers.SAMPLERS, samplers.OWN)


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> dict:
    home = tmp_path_factory.mktemp("tokenizer")
    kinds = {"sd": tiny.stable_diffusion, "unclip": tiny.unclip, "xl": tiny.xl}
    return {name: tiny.quiet(make(home)) for name, make in kinds.items()}


def conditioning(kind: str, order: list[int] | None = None) -> dict:
    if kind == "unclip":
        images = NOISE if order is None else NOISE[order]
        return {"image": list(images), "noise_level": 300}
    return SIZES if kind == "xl" else {}


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    """Equal but for rounding at the edge of a level: 1 of 256, in at most 1 value of 1,000."""
    difference = np.abs(found.astype(int) - expected.astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 1e-3


@pytest.mark.parametrize("kind", ["sd", "unclip", "xl"])
@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "euler_a"])
def test_pictures_dont_depend_on_batch_or_order(pipelines: dict, kind: str, sampler: str) -> None:
    pipeline, recipe = pipelines[kind], Recipe(sampler, 3, 3.0)
    whole = sampling.sample(pipeline, CAPTIONS, recipe, batch=8, **conditioning(kind))
    assert whole.images.shape == (8, 32, 32, 3)
    for batch in (1, 3):
        part = sampling.sample(pipeline, CAPTIONS, recipe, batch=batch, **conditioning(kind))
        assert_same(part.images, whole.images)
    shuffled = sampling.sample(
        pipeline,
        [CAPTIONS[i] for i in ORDER],
        recipe,
        seeds=[whole.seeds[i] for i in ORDER],
        batch=3,
        **conditioning(kind, ORDER),
    )
    assert_same(shuffled.images, whole.images[ORDER])


def test_one_image_for_all_gets_each_prompts_own_noise(pipelines: dict) -> None:
    one = {"image": Image.fromarray(NOISE[0]), "noise_level": 900}
    each = {"image": [NOISE[0]] * 4, "noise_level": 900}
    together = sampling.sample(pipelines["unclip"], CAPTIONS[:4], QUICK, batch=4, **one)
    apart = sampling.sample(pipelines["unclip"], CAPTIONS[:4], QUICK, batch=1, **each)
    assert_same(together.images, apart.images)
    array = sampling.sample(pipelines["unclip"], CAPTIONS[:4], QUICK, image=NOISE[0], batch=4)
    assert "array (32, 32, 3), sha256" in array.provenance["conditioning"]["image"]


def test_embeddings_may_stand_for_the_image(pipelines: dict) -> None:
    one = torch.randn(1, tiny.WIDTH, generator=torch.Generator().manual_seed(0))
    words = {"image_embeds": one, "image": None, "noise_level": 900}
    together = sampling.sample(pipelines["unclip"], CAPTIONS[:3], QUICK, batch=3, **words)
    words["image_embeds"] = one.repeat(3, 1)
    apart = sampling.sample(pipelines["unclip"], CAPTIONS[:3], QUICK, batch=1, **words)
    assert_same(together.images, apart.images)


@pytest.mark.parametrize("sampler", ALL)
def test_every_sampler_draws_and_repeats_itself(pipelines: dict, sampler: str) -> None:
    shipped = pipelines["sd"].scheduler
    recipe = Recipe(sampler, 2, 1.0)
    first, again = (sampling.sample(pipelines["sd"], CAPTIONS[:2], recipe) for _ in range(2))
    assert first.digest() == again.digest()
    assert first.images.std() > 1
    assert pipelines["sd"].scheduler is shipped


def test_what_is_asked_for_changes_the_picture(pipelines: dict) -> None:
    base = sampling.sample(pipelines["sd"], CAPTIONS[:2], QUICK)
    others = [
        sampling.sample(pipelines["sd"], CAPTIONS[2:4], QUICK),
        sampling.sample(pipelines["sd"], CAPTIONS[:2], QUICK, base_seed=1),
        sampling.sample(pipelines["sd"], CAPTIONS[:2], Recipe(steps=3, guidance=3.0)),
        sampling.sample(pipelines["sd"], CAPTIONS[:2], Recipe(steps=2, guidance=1.0)),
        sampling.sample(pipelines["sd"], CAPTIONS[:2], Recipe("ddim", 2, 3.0, "blue")),
    ]
    assert len({s.digest() for s in (base, *others)}) == 6
    assert not np.array_equal(base.images[0], base.images[1])


def test_sizes_reach_sdxl(pipelines: dict) -> None:
    one = sampling.sample(pipelines["xl"], CAPTIONS[:1], QUICK, **SIZES)
    other = sampling.sample(pipelines["xl"], CAPTIONS[:1], QUICK)
    assert one.digest() != other.digest()
    assert one.provenance["conditioning"]["crops_coords_top_left"] == [0, 4]


def test_provenance_says_how(pipelines: dict) -> None:
    done = sampling.sample(pipelines["sd"], "a red circle", Recipe("heun", 3, 2.0))
    facts = done.provenance
    assert (facts["pipeline"], facts["model"]) == ("StableDiffusionPipeline", "in memory")
    assert facts["scheduler"]["class"] == "HeunDiscreteScheduler"
    assert facts["scheduler"]["beta_schedule"] == "scaled_linear"
    assert facts["recipe"] == {"sampler": "heun", "steps": 3, "guidance": 2.0, "negative": ""}
    assert facts["evaluations"] == 2 * (2 * 3 - 1)
    assert (facts["dtype"], facts["device"], facts["truncated"]) == ("float32", "cpu", 0)
    assert facts["versions"]["torch"] == torch.__version__
    assert facts["seconds"] > 0
    assert (done.captions, done.seeds) == (("a red circle",), (0,))


def test_evaluations_are_the_passes_of_the_unet(pipelines: dict) -> None:
    passes: list[int] = []
    unet = pipelines["sd"].unet
    hook = unet.register_forward_hook(lambda _, args, __: passes.append(len(args[0])))
    for sampler in ALL:
        passes.clear()
        done = sampling.sample(pipelines["sd"], ["a"], Recipe(sampler, 4, 2.0))
        assert done.provenance["evaluations"] == sum(passes), sampler
    hook.remove()


def test_long_captions_are_counted_not_shouted_about(
    pipelines: dict, capfd: pytest.CaptureFixture
) -> None:
    done = sampling.sample(pipelines["sd"], ["a" * 40, "a"], QUICK)
    assert done.provenance["truncated"] == 1
    assert capfd.readouterr().err == ""


def test_seeds_are_distinct_and_of_32_bits() -> None:
    runs = [[sampling.seed_of(base, i) for i in range(2000)] for base in (0, 1, 2, -1)]
    assert runs[0] == list(range(2000))
    assert len({seed for run in runs for seed in run}) == 8000
    assert all(0 <= seed < pictures.SEEDS for run in runs for seed in run)


def test_torch_reads_no_more_than_32_bits_of_a_seed() -> None:
    one, other = (torch.Generator().manual_seed(s) for s in (5, 5 + pictures.SEEDS))
    assert torch.equal(torch.randn(20, generator=one), torch.randn(20, generator=other))


def test_a_progress_bar_on_request(pipelines: dict, capfd: pytest.CaptureFixture) -> None:
    sampling.sample(pipelines["sd"], CAPTIONS[:2], QUICK, batch=1, progress=True)
    assert "2/2" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"sampler": "dmd"}, "'dmd' is no sampler; use one of ddim"),
        ({"steps": 0}, "0 steps can't be taken"),
        ({"steps": 1001}, "1001 steps can't be taken"),
        ({"steps": 2.0}, "2.0 steps can't be taken"),
        ({"sampler": "pndm", "steps": 1}, "PNDM can't sample in one step"),
        ({"guidance": 0.5}, "Guidance 0.5 is below 1"),
        ({"guidance": float("nan")}, "Guidance nan"),
    ],
)
def test_recipes_that_cant_be_followed(words: dict, expected: str) -> None:
    with pytest.raises(AtlasError, match=expected):
        Recipe(**words)


@pytest.mark.parametrize(
    ("captions", "words", "expected"),
    [
        ([], {}, "nothing to draw"),
        (["a"], {"batch": 0}, "0 pictures at once"),
        (["a"], {"seeds": [1, 2]}, "2 seeds for 1 captions"),
        (["a"], {"seeds": [2**32]}, "Seed 4294967296 is out of range"),
        (["a"], {"noise_level": 3}, "takes no conditioning 'noise_level'"),
        (["a"], {"sigmas": [3]}, "takes no conditioning 'sigmas'"),
        (["a"], {"latents": 3}, "takes no conditioning 'latents'"),
        (["a"], {"negative_prompt": "b"}, "takes no conditioning 'negative_prompt'"),
    ],
)
def test_requests_that_cant_be_met(
    pipelines: dict, captions: list[str], words: dict, expected: str
) -> None:
    with pytest.raises(AtlasError, match=expected):
        sampling.sample(pipelines["sd"], captions, QUICK, **words)


def test_unclip_says_what_it_lacks(pipelines: dict) -> None:
    with pytest.raises(AtlasError, match="Provide either `image`"):
        sampling.sample(pipelines["unclip"], ["a"], QUICK)
    with pytest.raises(AtlasError, match=r"StableUnCLIPImg2ImgPipeline refuses: .*noise_level"):
        sampling.sample(pipelines["unclip"], ["a"], QUICK, image=NOISE[0], noise_level=2000)
    with pytest.raises(AtlasError, match="2 of 'image' for 3 captions"):
        sampling.sample(pipelines["unclip"], ["a"] * 3, QUICK, image=list(NOISE[:2]))


def test_pictures_that_are_not_finite(tmp_path: Path) -> None:
    pipeline = tiny.quiet(tiny.stable_diffusion(tmp_path))
    with torch.no_grad():
        pipeline.unet.conv_out.bias.fill_(float("nan"))
    shipped = pipeline.scheduler
    with pytest.raises(AtlasError, match="pictures are not finite"):
        sampling.sample(pipeline, ["a"], QUICK)
    assert pipeline.scheduler is shipped


def test_too_little_memory(pipelines: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("no")

    monkeypatch.setattr(pipelines["sd"].unet, "forward", full)
    with pytest.raises(AtlasError, match="Not enough memory for 1 pictures at once"):
        sampling.sample(pipelines["sd"], ["a"], QUICK)


def test_plain_values_for_provenance() -> None:
    assert pictures._plain([1, None, "a", (2.5,)]) == [1, None, "a", [2.5]]
    assert pictures._plain(object()) == "object"
    assert pictures._plain(torch.zeros(2, 3)).startswith("array (2, 3), sha256 ")


def test_a_sampler_takes_over_the_noise_schedule() -> None:
    shipped = DDIMScheduler(**tiny.SCHEDULE, prediction_type="v_prediction")
    for name in samplers.SAMPLERS:
        config = samplers.scheduler_for(name, shipped).config
        assert config.prediction_type == "v_prediction"
        assert config.beta_end == 0.012
        assert config.steps_offset == 1
        assert not config.get("clip_sample", False)
    assert samplers.scheduler_for("dpm++", shipped).config.solver_order == 2
    assert samplers.scheduler_for("own", shipped) is not shipped


def test_a_scheduler_that_says_nothing_of_latents() -> None:
    shipped = EulerDiscreteScheduler(beta_schedule="scaled_linear")
    config = samplers.scheduler_for("ddim", shipped).config
    assert (config.clip_sample, config.set_alpha_to_one, config.steps_offset) == (False, False, 1)
    assert samplers.scheduler_for("pndm", shipped).config.skip_prk_steps
    assert samplers.essentials(shipped)["class"] == "EulerDiscreteScheduler"
