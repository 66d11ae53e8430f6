"""Draw a picture a caption with any number of processes, and score them all.

    python scripts/evaluate.py mini-sd --captions captions.csv --output run --reference real/
    accelerate launch --multi_gpu --num_processes 8 scripts/evaluate.py …
    accelerate launch --multi_gpu --num_machines 2 --num_processes 16 --machine_rank RANK \\
        --main_process_ip ADDRESS --main_process_port 29500 scripts/evaluate.py …

--num_processes counts over all machines, --machine_rank is 0 on one and 1 on the other, and the
folder of the run lies on a disk that all of them share. --multi_gpu is also the way to several
processes on CPUs (accelerate's --cpu starts one, or asks for mpirun); there,
--num_cpu_threads_per_process says how many threads each has (a process alone has one, too, unless
OMP_NUM_THREADS says another number). The same command goes on with a run that was stopped. Pictures
and scores don't depend on the number of processes; on CPUs, their last bits do on that of threads.

--patience must be longer than the fastest process waits for the slowest when all is well: each has
its share of the pictures from the beginning.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unet_atlas.evaluation.protocol import Options
    from unet_atlas.evaluation.team import Team

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # as a launch does: products round by it

GRACE = 10.0  # seconds in which the first process has said what is wrong
BAD_INPUT, INTERRUPTED = 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate as one process of a launch; returns the exit code."""
    given = vars(parser().parse_args(argv))
    patience = given.pop("patience")
    from unet_atlas.errors import AtlasError
    from unet_atlas.evaluation.protocol import options_of
    from unet_atlas.evaluation.stopping import say
    from unet_atlas.evaluation.team import join

    try:
        options, team = options_of(given), join(patience)
    except AtlasError as error:
        sentence = str(error)
        only_first(lambda: say(sentence))
        return BAD_INPUT
    return run(options, team)


def run(options: Options, team: Team) -> int:
    """The evaluation with its faults turned into one sentence and an exit code."""
    from unet_atlas.errors import AtlasError
    from unet_atlas.evaluation import stopping
    from unet_atlas.evaluation.run import evaluate
    from unet_atlas.evaluation.team import Together, leave

    stopping.heed_the_launcher()
    try:
        outcome = evaluate(options, team, lambda line: stopping.say(stopping.named(team, line)))
    except Together as fault:
        stopping.heed_nothing()
        if team.first:
            stopping.say(str(fault))
        with suppress(AtlasError, stopping.Stopped):
            team.wait()  # or the launcher would end the first process before it has spoken
        return BAD_INPUT
    except AtlasError as fault:
        stopping.heed_nothing()
        stopping.speak_once(team, options.output, stopping.named(team, str(fault)))
        return BAD_INPUT
    except (KeyboardInterrupt, stopping.Stopped):
        stopping.heed_nothing()
        stopping.speak_once(team, options.output, stopping.BY_SIGNAL)
        return INTERRUPTED
    finally:
        stopping.heed_no_more()
    if outcome is not None:
        print("\n\n".join(table.to_text() for table in outcome.tables))
    leave(team)
    return 0


def only_first(speak: Callable[[], object]) -> None:
    """Let the first process of a launch speak, and the others wait until it has."""
    if os.environ.get("RANK", "0") == "0":
        speak()
    else:
        time.sleep(GRACE)


class Parser(argparse.ArgumentParser):
    """A parser whose complaints and help come from one process of a launch."""

    def exit(self, status: int = 0, message: str | None = None) -> None:
        only_first(lambda: sys.stderr.write(message or ""))
        sys.exit(status)

    def _print_message(self, message: str, file: Any = None) -> None:
        if os.environ.get("RANK", "0") == "0":
            super()._print_message(message, file)


def parser() -> argparse.ArgumentParser:
    """All options; what is left out is None, because a protocol may prescribe it."""
    lines = __doc__.split("\n\n")
    found = Parser(
        description=lines[0],
        epilog="\n\n".join(lines[1:]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    about = "a mini model, a pipeline folder, or the Hub id of UNET_ATLAS_WEIGHTS"
    found.add_argument("source", metavar="SOURCE", help=about)
    _what_is_run(found.add_argument)
    _how_it_draws(found.add_argument)
    _how_it_scores(found.add_argument)
    return found


def _what_is_run(add: Callable) -> None:
    about = "with a column caption: .csv, .tsv, .jsonl; .txt, or COCO's .json"
    add("--captions", type=Path, required=True, metavar="FILE", help=about)
    about = "for pictures and scores; a run that it holds is gone on with"
    add("--output", type=Path, required=True, metavar="FOLDER", help=about)
    add("--limit", type=int, metavar="N", help="the first N captions")
    add("--record", type=Path, metavar="FILE", help="a copy of FOLDER/scores.json")
    add("--score-only", action="store_true", help="score what is drawn, draw nothing")
    about = "mlperf: Euler, 20 steps, guidance 8, its negative prompt, 5,000 captions, Inception"
    add("--protocol", help=f"{about}; needs --fixed-latents")
    about = "how long a process waits for the others, slower ones too (21,600)"
    add("--patience", type=float, default=21600.0, metavar="SECONDS", help=about)
    add("--device", help="cpu, cuda, mps or best (best): GPUs are dealt to the processes")


def _how_it_draws(add: Callable) -> None:
    add("--sampler", help="ddim, ddpm, pndm, euler, euler_a, heun, dpm++, unipc or own (ddim)")
    add("--steps", type=int, help="denoising steps (25)")
    add("--guidance", type=float, help="1 is none (5)")
    add("--negative", metavar="TEXT", help="what not to draw")
    add("--seed", type=int, help="base seed; each prompt has its own seed from it (0)")
    add("--batch", type=int, help="pictures at once (16)")
    add("--dtype", help="fp32, fp16 or bf16 (what suits the device)")
    about = "start from these: .npy or .safetensors, one for all pictures or one each"
    add("--fixed-latents", dest="latents", type=Path, metavar="FILE", help=about)


def _how_it_scores(add: Callable) -> None:
    about = "images, or an .npz of features or of mu and sigma; without it no FID and no KID"
    add("--reference", type=Path, metavar="X", help=f"a folder of {about}")
    add("--features", help="of FID and KID: clip or inception (clip)")
    about = "torch-fidelity's file of weights"
    add("--inception-weights", dest="inception", type=Path, metavar="FILE", help=about)
    add("--clip", metavar="FOLDER", help="the CLIP model that scores (mini-scorer)")
    add("--prefix", metavar="TEXT", help="put before each caption for the CLIP score")


if __name__ == "__main__":
    sys.exit(main())
