"""Train the mini family: ``python scripts/train_mini.py mini-sd`` (or clips, vae, all).

Every stage resumes where it was stopped; what is finished is not done again. Intermediate files
lie under _build/mini; a model is written to models/ when it has sat its exam, all at once.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch

from unet_atlas import cards, exam
from unet_atlas.device import parse_device
from unet_atlas.errors import AtlasError
from unet_atlas.files import replacing_folder, write_text
from unet_atlas.mini import MEMBERS
from unet_atlas.mini.members import CLIPS, SCORER
from unet_atlas.mini.school import School

STAGES = (*CLIPS, "vae", *MEMBERS)
FEWEST = 10  # captions of an exam


def main(argv: Sequence[str] | None = None) -> int:
    """Train what is named, in order; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="+", choices=(*STAGES, "all"))
    parser.add_argument("--work", type=Path, default=Path("_build/mini"), help="intermediate files")
    parser.add_argument("--output", type=Path, default=Path("models"), help="finished models")
    parser.add_argument("--steps", type=positive, help="instead of the plan's own number of steps")
    parser.add_argument("--rate", type=rate, help="instead of the plan's own learning rate")
    parser.add_argument("--start", type=Path, help="finished folder whose UNet to begin with")
    parser.add_argument("--pictures", type=positive, help="training pictures (default: 32768)")
    parser.add_argument("--captions", type=positive, default=500, help="of the exam (default: 500)")
    parser.add_argument("--device", default="best", help="best, cpu, cuda or mps (default: best)")
    parser.add_argument("--threads", type=positive, help="CPU threads (default: torch's own)")
    options = parser.parse_args(argv)
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    stages = STAGES if "all" in options.what else options.what
    try:
        if options.captions < FEWEST:
            raise AtlasError(f"--captions {options.captions} is too few: take {FEWEST} or more.")
        if options.start and (len(stages) > 1 or stages[0] not in MEMBERS):
            raise AtlasError("--start begins one member; name that one alone.")
        school = School(options.work, parse_device(options.device), options.pictures)
        for stage in stages:
            print(school.train(stage, options.steps, options.rate, options.start), flush=True)
            publish(school, stage, options.output, options.captions)
    except AtlasError as error:
        print(f"train_mini: {error}", file=sys.stderr)
        return 2
    return 0


def positive(text: str) -> int:
    """A whole number above zero."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above zero")
    return int(text)


def rate(text: str) -> float:
    """A learning rate above zero and below one."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no rate between 0 and 1, such as 1e-3")
    return value


def publish(school: School, stage: str, output: Path, captions: int) -> None:
    """Examine a finished member and put it into its folder, with its card; once for each model."""
    name = SCORER if stage == "scorer" else stage
    if name not in (*MEMBERS, SCORER):
        return
    trained = json.loads((school.work / f"{stage}.json").read_text("utf-8"))
    if examined(output / name) == (trained, captions):
        print(f"{name}: already examined")
        return
    with replacing_folder(output / name) as folder:
        school.graduate(name, folder)
        if name == SCORER:
            card = cards.scorer_card(name, trained)
        else:
            today = datetime.date.today().isoformat()
            about = {"model": name, "date": today, "device": school.device_name}
            about["training"] = trained
            facts = exam.assess(folder, about, captions, school.device, progress=True)
            card = cards.member_card(name, trained, facts)
            for question, mark in facts["marks"]["test"].items():
                print(f"{name}: {question}: {mark['value']:.1%}", flush=True)
        write_text(folder / "README.md", card)


def examined(folder: Path) -> tuple[dict, int] | None:
    """The training of the model in a folder and the number of captions that it was asked."""
    try:
        facts = json.loads((folder / "exam.json").read_text("utf-8"))
        return facts["training"], facts["captions"]
    except (OSError, ValueError, KeyError):
        return None


if __name__ == "__main__":
    raise SystemExit(main())
