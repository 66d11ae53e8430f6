"""Measure the real UNets on this machine's CUDA device: ``python scripts/record_gpu.py``.

At most ten minutes on an H100, one with ``--quick``. Progress goes to stderr; the record is
``records/<device>-<date>.json``, and nothing else is left. A session that is stopped keeps its
finished experiments, and the same command goes on from there. No network, no weights.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch

from unet_atlas.errors import AtlasError
from unet_atlas.gpu import recorder
from unet_atlas.gpu.bench import FULL, QUICK, Bench
from unet_atlas.gpu.run import EXPERIMENTS

ROOT = Path(__file__).resolve().parents[1]
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Record; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="at most a minute: fewer of all")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        choices=list(EXPERIMENTS),
        help="this experiment and the ceilings, into the day's record; may be given again",
    )
    parser.add_argument("--seed", type=int, default=0, help="of weights and inputs (default: 0)")
    options = parser.parse_args(argv)
    if not torch.cuda.is_available():
        print("There is no CUDA device here; run this where there is one.", file=sys.stderr)
        return 2
    bench = Bench(
        torch.device("cuda", 0),
        QUICK if options.quick else FULL,
        options.quick,
        options.seed,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    try:
        file = recorder.record(root, bench, options.only)
    except AtlasError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped; finished experiments are kept: the same command goes on.", file=sys.stderr)
        return INTERRUPTED
    print(file.relative_to(root))
    return 0


if __name__ == "__main__":
    sys.exit(main())
