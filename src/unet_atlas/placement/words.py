"""What the records say, in sentences for the prose of a page: whichever way it came out.

Book: *Where do transformer blocks belong?*
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from unet_atlas import records
from unet_atlas.placement.analysis import (
    BINDING,
    HALVES,
    Difference,
    about_run,
    differences,
    outcomes,
    primary,
)
from unet_atlas.placement.protocol import EVEN, Protocol
from unet_atlas.placement.views import (
    ALPHA,
    EXPECTED,
    HYPOTHESES,
    PICTURES,
    SPLITS,
    complete,
    interval_words,
    signed,
)
from unet_atlas.records import Record

FLOOR = 0.05  # a share of right pictures below this is next to nothing


def verdicts(protocol: Protocol, found: Sequence[Record]) -> str:
    """One sentence a hypothesis, or what is still missing."""
    if not complete(protocol, found):
        return _unfinished(protocol, found)
    told = sorted((HYPOTHESES[d.arm], _told(d, p)) for d, p in primary(outcomes(found), protocol))
    sentences = [f"{hypothesis}: {sentence}" for hypothesis, sentence in told]
    return " ".join([*sentences, *_failures(found)])


def exploratory(protocol: Protocol, found: Sequence[Record]) -> str:
    """What the exploratory hypotheses H5 and H6 got for an answer, for low against even."""
    frame = outcomes(found)
    asked = {
        "the noisier half less the cleaner half": HALVES,
        "relation and objects less shapes": f"{BINDING}, test",
    }
    told = []
    for name, outcome in asked.items():
        low = [d for d in differences(frame, protocol, outcome) if d.arm == "low"]
        if not low or not math.isfinite(low[0].low):
            return "With fewer than two pairs of low and even there is no interval yet."
        value = interval_words(low[0], 100, True)
        zero = "leaves out zero" if low[0].low > 0 or low[0].high < 0 else "holds zero"
        told.append(f"{name} {value} points, which {zero}")
    return f"For low against even: {'; '.join(told)}. Both are exploratory and have no verdict."


def _failures(found: Sequence[Record]) -> list[str]:
    failed = [about for about in map(about_run, found) if about.get("failed")]
    return [
        f"Failed twice, its loss not finite: {about['arm']} with seed {about['seed']}."
        for about in failed
    ]


def short(protocol: Protocol, found: Sequence[Record]) -> str:
    """The four results in one sentence."""
    if not complete(protocol, found):
        return _unfinished(protocol, found)
    judged = primary(outcomes(found), protocol)
    groups = {
        "better than even": [d.arm for d, p in judged if p < ALPHA and d.mean < 0],
        "worse than even": [d.arm for d, p in judged if p < ALPHA and d.mean > 0],
        "not told apart from even": [d.arm for d, p in judged if not p < ALPHA],
    }
    parts = [f"{_listed(arms)} {_is(arms)} {what}" for what, arms in groups.items() if arms]
    return f"In this setting, {'; '.join(parts)}."


def pictures(protocol: Protocol, found: Sequence[Record]) -> str:
    """How many of the intervals leave out zero, beside how many would by chance."""
    frame = outcomes(found)
    shown = {
        (outcome, split): differences(frame, protocol, f"{outcome}, {split}")
        for outcome in PICTURES
        for split in SPLITS
    }
    ends = [(key, d) for key, few in shown.items() for d in few if math.isfinite(d.low)]
    if not ends:
        return "With fewer than two pairs of runs there is no interval yet."
    away = [(key, d) for key, d in ends if d.low > 0 or d.high < 0]
    named = "; ".join(_named(*key, d) for key, d in away[:6])
    more = f" (among them: {named})" if len(away) > 6 else f" ({named})" if away else ""
    return (
        f"Of {len(ends)} intervals {len(away)} leave out zero{more}. If nothing differed, about "
        f"{ALPHA * len(ends):.0f} would by chance, so that no single one of them is a finding."
        f"{_floor(shown['right', 'test'], shown['relation', 'test'])}"
    )


def times(protocol: Protocol) -> str:
    """Which arms take the most and the least time, against the even arm."""
    record = records.newest(f"placement-{protocol.name}-times")
    if record is None:
        return ""
    seconds: dict[str, list[float]] = {}
    for row in record.rows:
        seconds.setdefault(row["arm"], []).append(row["seconds"])
    middle = {arm: statistics.median(few) for arm, few in seconds.items()}
    part = {arm: middle[arm] / middle[EVEN] for arm in middle if arm != EVEN}
    slow, fast = max(part, key=part.__getitem__), min(part, key=part.__getitem__)
    return (
        f"At equal MACs, a step of {slow} takes {part[slow]:.2f} times as long as one of even on "
        f"this machine, and a step of {fast} {part[fast]:.2f} times. A study at equal seconds "
        "would have had other arms, and on another machine others again."
    )


def _floor(right: Sequence[Difference], relation: Sequence[Difference]) -> str:
    """A warning where the even arm's shares are so small that nothing can be much worse."""
    shares = right[0].base, relation[0].base
    if min(shares) >= FLOOR:
        return ""
    return (
        f" And the even arm gets {100 * shares[0]:.1f} % of the exam right in everything and "
        f"{100 * shares[1]:.1f} % of its relations. So close to zero a share hides what "
        "a placement does: models that draw this little can't answer H6."
    )


def _unfinished(protocol: Protocol, found: Sequence[Record]) -> str:
    wanted = len(protocol.arms) * len(protocol.seeds)
    return (
        f"So far {len(found)} of {wanted} runs are recorded. The verdict waits for all of them, as "
        "laid down; what is shown is a part."
    )


def _told(found: Difference, p: float) -> str:
    ends = f"{signed(100 * found.mean / found.base)} % [{interval_words(found, 100 / found.base)}]"
    if not math.isfinite(p):
        return f"{found.arm} has too few runs that ended ({ends})."
    if not p < ALPHA:
        return f"{found.arm} is not told apart from even ({ends}, p = {p:.2f})."
    way = "smaller" if found.mean < 0 else "larger"
    held = EXPECTED[found.arm] in (way, "other")
    judged = "as expected" if held else "the opposite of what was expected"
    return f"{found.arm} ends with a {way} loss than even ({ends}, p = {p:.3f}), {judged}."


def _named(outcome: str, split: str, found: Difference) -> str:
    name, unit, factor = PICTURES[outcome]
    value = f"{signed(found.mean * factor)} {'points' if unit == '%' else ''}".strip()
    return f"{found.arm}, {name} on the {SPLITS[split]}: {value}"


def _listed(names: Sequence[str]) -> str:
    *most, last = [f"“{name}”" for name in names]
    return f"{', '.join(most)} and {last}" if most else last


def _is(names: Sequence[str]) -> str:
    return "are" if len(names) > 1 else "is"
