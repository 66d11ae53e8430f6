"""Train the mini family: ``python scripts/train_mini.py mini-sd`` (or clips, vae, all).

Every stage resumes where it was stopped; what is finished is not done again. Intermediate files
lie under _build/mini; the finished models are written to models/.
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
from unet_atlas.files import write_text
from unet_atlas.mini import MEMBERS
from unet_atlas.mini.members import CLIPS, SCORER
from unet_atlas.mini.school import School

STAGES = (*CLIPS, "vae", *MEMBERS)


def main(argv: Sequence[str] | None = None) -> int:
    """Train what is named, in order; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="+", choices=(*STAGES, "all"))
    parser.add_argument("--work", type=Path, default=Path("_build/mini"), help="intermediate files")
    parser.add_argument("--output", type=Path, default=Path("models"), help="finished models")
    parser.add_argument("--steps", type=int, help="instead of the plan's own number of steps")
    parser.add_argument("--pictures", type=int, help="training pictures (default: 32768)")
    parser.add_argument("--captions", type=int, default=500, help="of the exam (default: 500)")
    parser.add_argument("--device", default="best", help="best, cpu, cuda or mps (default: best)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's own)")
    options = parser.parse_args(argv)
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    try:
        school = School(
            options.work, options.output, parse_device(options.device), options.pictures
        )
        for stage in STAGES if "all" in options.what else options.what:
            print(school.train(stage, options.steps), flush=True)
            publish(school, stage, options.captions)
    except AtlasError as error:
        print(f"train_mini: {error}", file=sys.stderr)
        return 2
    return 0


def publish(school: School, stage: str, captions: int) -> None:
    """Put a finished member into its folder, examine it there, and write its card."""
    name = SCORER if stage == "scorer" else stage
    if name not in (*MEMBERS, SCORER):
        return
    target = school.graduate(name)
    trained = json.loads((school.work / f"{stage}.json").read_text("utf-8"))
    if name == SCORER:
        write_text(target / "README.md", cards.scorer_card(name, trained))
        return
    today = datetime.date.today().isoformat()
    about = {"model": name, "date": today, "device": school.device_name, "training": trained}
    facts = exam.assess(target, about, captions, progress=True)
    write_text(target / "README.md", cards.member_card(name, trained, facts))
    for question, mark in facts["marks"]["test"].items():
        print(f"{name}: {question}: {mark['value']:.1%}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
