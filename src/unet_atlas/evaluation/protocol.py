"""What an evaluation is asked to do: the options, and presets that publish their own result.

Book: *Scoring thirty thousand images*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unet_atlas.errors import AtlasError
from unet_atlas.mini.members import SCORER
from unet_atlas.reference import FEATURES
from unet_atlas.sampling import Recipe
from unet_atlas.sampling.pictures import SEEDS, check_batch

PERCENT = "CLIP score, 100 · cos"


@dataclass(frozen=True)
class Window:
    """The values of a metric that a protocol accepts, ends included."""

    metric: str
    low: float
    high: float


@dataclass(frozen=True)
class Preset:
    """A published protocol: what it prescribes, and the window that a run must fall into.

    Attributes:
        sampler, steps, guidance, negative, limit, features, prefix: as the options of those names.
        pipeline: the classes whose name begins so are meant.
        size: of the pictures.
        clip: the CLIP model of its CLIP score, as :meth:`Scorer.shape` words it.
        windows: of the metrics that it accepts by.
        source: where all this is published.
    """

    name: str
    sampler: str
    steps: int
    guidance: float
    negative: str
    limit: int
    features: str
    prefix: str
    pipeline: str
    size: str
    clip: str
    windows: tuple[Window, ...]
    source: str

    @property
    def options(self) -> dict[str, Any]:
        """The options that it prescribes."""
        names = ("sampler", "steps", "guidance", "negative", "limit", "features", "prefix")
        return {name: getattr(self, name) for name in names}


# One fixed latent of seed 0 for all prompts; FID by pytorch-fid's Inception against the mean and
# covariance of real COCO images (val2014.npz); CLIP score with OpenAI's ViT-B/32, times 100.
MLPERF = Preset(
    name="mlperf",
    sampler="euler",
    steps=20,
    guidance=8.0,
    negative="normal quality, low quality, worst quality, low res, blurry, nsfw, nude",
    limit=5000,
    features="inception",
    prefix="",
    pipeline="StableDiffusionXL",
    size="1024 × 1024",
    clip="224 px, patches of 32 px, 512 wide",
    windows=(Window("FID", 23.01086, 23.95008), Window(PERCENT, 31.68632, 31.81332)),
    source="MLCommons, MLPerf Inference, text_to_image (SDXL): accuracy targets of the closed "
    "division",
)
PRESETS: Mapping[str, Preset] = {MLPERF.name: MLPERF}


@dataclass(frozen=True)
class Options:
    """One evaluation, complete.

    Attributes:
        source: a model of the mini family, a pipeline folder, or the Hub id of UNET_ATLAS_WEIGHTS.
        captions: their file; ``limit`` takes the first ones, ``None`` all.
        output: the folder of the run.
        recipe: how a picture is drawn; ``seed`` is the run's base seed.
        batch: pictures at once, and prompts in a block.
        dtype: fp32, fp16 or bf16; None for what suits the device.
        reference: a folder of images or an .npz; without it there is no FID and no KID.
        features, inception: of FID and KID, and the file of Inception's weights.
        clip: a folder with a CLIP model; ``prefix`` is put before each caption for its score.
        latents: a file of fixed starting latents.
        protocol: a key of :data:`PRESETS`.
        record: a file for the record, besides ``scores.json``.
        score_only: score the pictures that are there, draw none.
    """

    source: str
    captions: Path
    output: Path
    recipe: Recipe
    seed: int = 0
    batch: int = 16
    limit: int | None = None
    dtype: str | None = None
    device: str = "best"
    reference: Path | None = None
    features: str = "clip"
    inception: Path | None = None
    clip: str = SCORER
    prefix: str = ""
    latents: Path | None = None
    protocol: str | None = None
    record: Path | None = None
    score_only: bool = False

    @property
    def preset(self) -> Preset | None:
        """The protocol that is followed, if any."""
        return PRESETS[self.protocol] if self.protocol else None


def options_of(given: Mapping[str, Any]) -> Options:
    """The options of what a reader gave; ``None`` is what they left out.

    Args:
        given: the names of :class:`Options`, with ``sampler``, ``steps``, ``guidance`` and
            ``negative`` in place of the recipe.

    Raises:
        AtlasError: out of range, or against the protocol.
    """
    said = {name: value for name, value in given.items() if value is not None}
    preset = _preset(said)
    if preset is not None:
        _check_against(preset, said)
        said |= preset.options
    recipe = Recipe(
        **{k: said.pop(k) for k in ("sampler", "steps", "guidance", "negative") if k in said}
    )
    options = Options(recipe=recipe, **said)
    check_batch(options.batch)
    if not 0 <= options.seed < SEEDS:
        raise AtlasError(f"The seed {options.seed} is out of range; give 0 to 2³² − 1.")
    if options.limit is not None and options.limit < 2:
        raise AtlasError(f"The first {options.limit} captions can't be scored; give 2 or more.")
    if options.features not in FEATURES:
        raise AtlasError(f"{options.features!r} are no features; use {' or '.join(FEATURES)}.")
    return options


def verdicts(
    preset: Preset,
    values: Mapping[str, float],
    pictures: int,
    pipeline: str,
    size: str | None = None,
    clip: str | None = None,
) -> list[dict[str, Any]]:
    """Whether each score falls into the protocol's window: a row a metric.

    Args:
        values: by metric; one that is missing was not measured.
        pictures: that were scored.
        pipeline: the class that drew them.
        size: of the pictures; None for that of the protocol.
        clip: the shape of the CLIP model that scored; None for that of the protocol.

    Returns:
        ``metric``, ``value``, ``low``, ``high``, ``inside`` (None where it can't be said, with the
        ``reason``) and ``source``.
    """
    common = ""
    if not pipeline.startswith(preset.pipeline):
        common = f"the window is of SDXL, the pictures of {pipeline}"
    elif pictures != preset.limit:
        common = f"the window is of {preset.limit:,} pictures, these are {pictures:,}"
    elif size not in (None, preset.size):
        common = f"the window is of pictures of {preset.size} px, these are {size}"
    rows = []
    for window in preset.windows:
        value = values.get(window.metric)
        reason = common or ("" if value is not None else "it was not measured")
        if not reason and window.metric == PERCENT and clip not in (None, preset.clip):
            reason = f"the window is of a CLIP model of {preset.clip}; this one is of {clip}"
        inside = None if reason else window.low <= value <= window.high
        rows.append(
            {
                "metric": window.metric,
                "value": value,
                "low": window.low,
                "high": window.high,
                "inside": inside,
                "reason": reason,
                "source": preset.source,
            }
        )
    return rows


def _preset(said: Mapping[str, Any]) -> Preset | None:
    name = said.get("protocol")
    if name is not None and name not in PRESETS:
        raise AtlasError(f"{name!r} is no protocol; use {' or '.join(PRESETS)}.")
    return PRESETS[name] if name else None


def _check_against(preset: Preset, said: Mapping[str, Any]) -> None:
    """Refuse an option that contradicts the protocol, and a run without its fixed latents."""
    for name, value in preset.options.items():
        if name in said and said[name] != value:
            raise AtlasError(
                f"The protocol {preset.name} has --{name} {value!r}, not {said[name]!r}; leave out "
                f"--{name} or the protocol."
            )
    if "latents" not in said:
        raise AtlasError(
            f"The protocol {preset.name} starts every picture from one fixed latent; give it with "
            "--fixed-latents."
        )
