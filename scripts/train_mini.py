"""Train the mini family: ``python scripts/train_mini.py mini-sd`` (or clips, vae, all).

Every stage resumes where it was stopped; what is finished is not done again. Intermediate files
lie under _build/mini; the finished models are written to models/.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch

from unet_atlas.device import parse_device
from unet_atlas.errors import AtlasError
from unet_atlas.mini import MEMBERS
from unet_atlas.mini.members import CLIPS
from unet_atlas.mini.school import School

STAGES = (*CLIPS, "vae", *MEMBERS)


def main() -> int:
    """Train what is named, in order; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="+", choices=(*STAGES, "all"))
    parser.add_argument("--work", type=Path, default=Path("_build/mini"), help="intermediate files")
    parser.add_argument("--output", type=Path, default=Path("models"), help="finished models")
    parser.add_argument("--steps", type=int, help="instead of the plan's own number of steps")
    parser.add_argument("--pictures", type=int, help="training pictures (default: 32768)")
    parser.add_argument("--device", default="best", help="best, cpu, cuda or mps (default: best)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's own)")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        school = School(
            options.work, options.output, parse_device(options.device), options.pictures
        )
        for stage in STAGES if "all" in options.what else options.what:
            print(school.train(stage, options.steps), flush=True)
    except AtlasError as error:
        print(f"train_mini: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
