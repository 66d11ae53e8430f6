"""Run the study of where transformer blocks belong: ``python scripts/placement_study.py cpu``.

Each run (an arm with a seed) ends as a file of records/ and is not done again; one that was stopped
goes on from its checkpoint under _build/placement. ``--protocol`` prints what was laid down.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch

from unet_atlas.device import parse_device
from unet_atlas.errors import AtlasError
from unet_atlas.files import write_text
from unet_atlas.placement.protocol import PROTOCOLS, Protocol, words
from unet_atlas.placement.runs import Lab, attempt, forget, open_lab, pilot, time_arms
from unet_atlas.records import Record


def main(argv: Sequence[str] | None = None) -> int:
    """Do what is named; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", choices=PROTOCOLS, help="the design: for two CPU cores, or a GPU")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--protocol", action="store_true", help="print the protocol and stop")
    only.add_argument("--pilot", action="store_true", help="choose the learning rate and stop")
    only.add_argument("--time", action="store_true", help="time a step of every arm and stop")
    parser.add_argument("--arm", action="append", help="only this arm (may be repeated)")
    parser.add_argument("--seed", action="append", type=int, help="only this seed (likewise)")
    parser.add_argument("--work", type=Path, default=Path("_build/placement"), help="checkpoints")
    parser.add_argument("--records", type=Path, default=Path("records"), help="where results go")
    parser.add_argument("--device", default="best", help="best, cpu, cuda or mps (default: best)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    options = parser.parse_args(argv)
    protocol = PROTOCOLS[options.study]
    if options.protocol:
        print(words(protocol), end="")
        return 0
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    try:
        options.records.mkdir(parents=True, exist_ok=True)  # not only after an hour's training
        lab = open_lab(protocol, options.work, parse_device(options.device))
        if options.pilot or options.time:
            made = pilot(lab, options.work) if options.pilot else time_arms(lab)
            keep(made, options.records / f"{made.experiment}.json")
        else:
            study(chosen(lab, options), options)
    except AtlasError as error:
        print(f"placement_study: {error}", file=sys.stderr)
        return 2
    return 0


def chosen(lab: Lab, options: argparse.Namespace) -> Lab:
    """The lab with a learning rate: the protocol's, else the best of a pilot, run if need be."""
    if lab.protocol.rate is not None:
        return lab
    file = options.records / f"placement-{lab.protocol.name}-pilot.json"
    if not file.exists():
        keep(pilot(lab, options.work), file)
    rows = json.loads(file.read_text("utf-8"))["rows"]
    best = min(rows, key=lambda row: row["loss"])["rate"]
    return replace(lab, protocol=replace(lab.protocol, rate=best))


def study(lab: Lab, options: argparse.Namespace) -> None:
    """Every run that is not yet recorded, seed by seed, so that a part is a comparison too."""
    protocol: Protocol = lab.protocol
    arms = [protocol.arm(name) for name in options.arm] if options.arm else protocol.arms
    for seed in options.seed or protocol.seeds:
        for arm in arms:
            name = (
                f"placement-{protocol.name}-{arm.name.replace(', ', '-').replace(' ', '-')}-{seed}"
            )
            if (options.records / f"{name}.json").exists():
                print(f"{arm.name}, seed {seed}: recorded already", flush=True)
                continue
            checkpoint = options.work / f"{name}.checkpoint"
            keep(attempt(lab, arm, seed, checkpoint), options.records / f"{name}.json")
            forget(checkpoint)


def keep(record: Record, file: Path) -> None:
    """Write a record, whole or not at all."""
    content = {key: value for key, value in asdict(record).items() if key != "file"}
    write_text(file, json.dumps(content, ensure_ascii=False).replace("}, {", "},\n {") + "\n")
    print(f"wrote {file}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
