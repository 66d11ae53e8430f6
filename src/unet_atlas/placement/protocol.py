"""What was laid down before the first run: arms, training, outcomes, analysis, exclusions.

``scripts/placement_study.py --protocol`` prints :func:`words`; the print of the study that ran lies
in ``records/placement-<name>-protocol.md`` and was committed before the runs.
"""

from __future__ import annotations

from dataclasses import dataclass

from unet_atlas.errors import AtlasError
from unet_atlas.mini.training import Plan
from unet_atlas.placement.arms import TOLERANCE, Arm, Scale, Size, even, size
from unet_atlas.sampling import Recipe

EVEN = "even"


@dataclass(frozen=True)
class Protocol:
    """One study.

    Attributes:
        scale: of the even arm.
        matched: arms with the even arm's MACs and parameters.
        same_macs: arms with the even arm's MACs, parameters as they come, widths at most one step
            off.
        steps, batch, rate: of training; the rate is the best of ``rates`` in the pilot, None as
            long as there was none.
        rates, pilot_steps: tried on the even arm with a seed of no run.
        seeds: of initial weights, batch order and noise; the same for every arm.
        pictures: that training draws from; ``held`` others measure the loss.
        validations: how often the loss is measured during training, at even distances.
        captions, unseen: of the exam, and of its part with unseen combinations.
        recipe: how the exam's pictures are drawn.
    """

    name: str
    scale: Scale
    matched: tuple[Arm, ...]
    same_macs: tuple[Arm, ...]
    steps: int
    batch: int
    rate: float | None
    rates: tuple[float, ...]
    pilot_steps: int
    seeds: tuple[int, ...]
    pictures: int
    held: int
    validations: int
    captions: int
    unseen: int
    recipe: Recipe

    @property
    def arms(self) -> tuple[Arm, ...]:
        """All arms, the even one first."""
        return (even(self.scale), *self.matched, *self.same_macs)

    def arm(self, name: str) -> Arm:
        """The arm of a name.

        Raises:
            AtlasError: there is none.
        """
        for arm in self.arms:
            if arm.name == name:
                return arm
        names = ", ".join(arm.name for arm in self.arms)
        raise AtlasError(f"{name!r} is no arm of the study {self.name!r}; take one of {names}.")

    def plan(self, seed: int, rate: float | None = None, steps: int | None = None) -> Plan:
        """How one run trains."""
        return Plan(steps or self.steps, self.batch, rate or self.rate, seed=seed)

    def size(self, arm: Arm) -> Size:
        """Parameters and MACs of an arm."""
        return size(self.scale, arm.depths, arm.channels)


CPU = Protocol(
    name="cpu",
    scale=Scale((16, 40, 72), depth=1, step=4, heads=4),
    matched=(
        Arm("low", (0, 3, 4), (16, 40, 44)),
        Arm("middle", (0, 3, 0), (16, 40, 80)),
        Arm("high", (2, 1, 0), (12, 36, 92)),
    ),
    same_macs=(Arm("low, more parameters", (0, 1, 2), (16, 40, 76)),),
    steps=2_000,
    batch=16,
    rate=3e-3,
    rates=(0.75e-3, 1.5e-3, 3e-3, 6e-3),
    pilot_steps=500,
    seeds=(1, 2, 3),
    pictures=16_384,
    held=256,
    validations=6,
    captions=500,
    unseen=200,
    recipe=Recipe("dpm++", 12, 3.0),
)
GPU = Protocol(
    name="gpu",
    scale=Scale((64, 112, 192), depth=1, step=8, heads=8),
    matched=(
        Arm("low", (0, 3, 4), (72, 112, 120)),
        Arm("middle", (0, 3, 0), (64, 112, 216)),
        Arm("high", (2, 1, 0), (48, 112, 240)),
    ),
    same_macs=(Arm("low, more parameters", (0, 1, 3), (64, 112, 192)),),
    steps=4_000,
    batch=256,
    rate=None,
    rates=(0.5e-3, 1e-3, 2e-3),
    pilot_steps=600,
    seeds=(1, 2, 3),
    pictures=131_072,
    held=1_024,
    validations=10,
    captions=500,
    unseen=200,
    recipe=Recipe("dpm++", 12, 3.0),
)
PROTOCOLS = {protocol.name: protocol for protocol in (CPU, GPU)}
PILOT_SEED = 900  # of no run


def words(protocol: Protocol) -> str:
    """The protocol as Markdown, with every number from the settings that the runs use."""
    p = protocol
    return f"""\
# Where do transformer blocks belong? Protocol of the study “{p.name}”

Laid down before the first run. What is printed here is made from the settings that the runs use.

## Question and hypotheses
SDXL has its transformer blocks at the lower levels ([0, 2, 10]); SD 1 and 2 have one at each. The
published comparisons change size and number of levels as well. Here only the placement changes, and
the channel widths that must give way for MACs and parameters to stay equal.

- H1: at equal MACs and equal parameters, *low* has a smaller validation loss than *even*.
- H2: at equal MACs and equal parameters, *high* has a larger validation loss than *even*.
- H3: *middle* differs from *even* (no direction).
- H4: at equal MACs and with more parameters, low blocks give a smaller loss than *even*.
- H5 (exploratory): the differences are larger in the noisier half of the schedule, where the
  arrangement of a picture is decided, than in the cleaner half.
- H6 (exploratory): relations and bound colours gain more from low blocks than single shapes do.

## Arms
{_arms(p)}

Depths are transformer blocks in each transformer of a level, finest level first. The middle block
has as many as the coarsest level, and one where that level has none, as in SD 1 and 2. Widths are
the nearest to the even arm's (sum of |ln ratio| over the levels) that keep MACs and parameters
within ±{TOLERANCE:.0%}, found by an exact search over multiples of {p.scale.step};
*low, more parameters* holds the MACs alone, with each width at most one step off. All arms have
{p.scale.layers} ResNet block a level on the way down and one more on the way up, {p.scale.heads}
heads an attention layer, and the text encoder, autoencoder and noise schedule of mini-sd.

## Training
{p.steps:,} steps of {p.batch} pictures out of {p.pictures:,}; AdamW, warm-up of 100 steps, decay to
zero over the last 30 %, EMA; {_rate(p)} in every arm: the best of
{", ".join(f"{r:g}" for r in p.rates)} on the even arm after {p.pilot_steps} steps with seed
{PILOT_SEED}, by validation loss, chosen before any run of the study. Seeds
{", ".join(map(str, p.seeds))}; runs with equal seeds see the same pictures, noise and time steps in
the same order.

## Outcomes
Primary: validation loss at the end of training: the training objective on {p.held:,} held-out
pictures × 10 levels of noise, the same noise for every run.

Secondary: the loss along training, over training compute (3 × forward MACs × pictures); the loss by
level of noise; the oracle's answers on the exam's {p.captions} captions and {p.unseen} with unseen
combinations (shapes, colours, objects = shape bound to colour, relation, everything;
{p.recipe.sampler}, {p.recipe.steps} steps, guidance {p.recipe.guidance:g}); FD of the scorer's
features against rendered scenes of the same captions; 100 × CLIP cosine; seconds a step, timed for
all arms in turn on an otherwise idle machine.

## Analysis
For each arm and outcome: the difference to the even arm with the same seed; its mean over seeds
with a 95 % t interval (seeds − 1 degrees of freedom). The primary family (H1 to H4) is tested
two-sided with Holm's correction at 5 %. Secondary outcomes get intervals and no verdict. With
{len(p.seeds)} seeds an interval is wide: t = 4.30 for three. No outcome is added, dropped or
redefined after the runs without a note beside the results that says so.

## Exclusions
None by result. A run whose loss stops being finite is repeated once with the same seed, counts as
failed if it fails again, and is reported. A run that was interrupted goes on from its checkpoint
and counts as one run.
"""


def _rate(protocol: Protocol) -> str:
    return "one learning rate" if protocol.rate is None else f"learning rate {protocol.rate:g}"


def _arms(protocol: Protocol) -> str:
    base = protocol.size(protocol.arms[0])
    rows = ["| arm | depths | channels | parameters | | MACs | |", "|---|---|---|---|---|---|---|"]
    for arm in protocol.arms:
        found = protocol.size(arm)
        params, macs = (f"{100 * part:+.1f} %".replace("-", "−") for part in found.off(base))
        cells = (arm.name, list(arm.depths), list(arm.channels), f"{found.params:,}", params)
        rows.append("| " + " | ".join(map(str, (*cells, f"{found.macs:,}", macs))) + " |")
    return "\n".join(rows)
