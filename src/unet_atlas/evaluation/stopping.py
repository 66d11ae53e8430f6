"""How a launch ends when something fails: one sentence, from the process that knows it first.

The launcher ends all processes when one has failed, and prints a report of its own. Which one may
speak is settled in the run's folder: whoever makes the file ``.stopped`` there first. The sentence
stands in it too.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from unet_atlas.evaluation.team import Team

STOPPED = ".stopped"
BY_SIGNAL = (
    "The run was stopped, by another process that ended or by whoever watches over this job; the "
    "same command goes on with what is there."
)


class Stopped(BaseException):
    """The launcher or a scheduler ends this process."""


def say(sentence: str) -> None:
    """One line on stderr, without the control characters that a path may hold."""
    plain = "".join(c if c.isprintable() else " " for c in sentence)
    print(f"evaluate: {plain}", file=sys.stderr, flush=True)


def speak_once(team: Team, folder: Path, sentence: str) -> None:
    """Say a sentence unless another process of the run has said its own; as long as the run has no
    folder, the first process speaks."""
    try:
        handle = os.open(folder / STOPPED, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return
    except FileNotFoundError:
        return say(sentence) if team.first else None
    except OSError:  # a full disk: better twice than never
        return say(sentence)
    say(sentence)
    with suppress(OSError), os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(sentence + "\n")


def forget(folder: Path) -> None:
    """Take away what an earlier launch has said."""
    with suppress(OSError):
        (folder / STOPPED).unlink()


def named(team: Team, sentence: str) -> str:
    """The sentence, after the number of the process that says it where there are several."""
    return f"process {team.rank} of {team.world}: {sentence}" if team.world > 1 else sentence


def heed_nothing() -> None:
    """Say a sentence to its end, whatever the launcher asks meanwhile."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def heed_no_more() -> None:
    """Let the launcher end this process without a word: it has said its own, or is done."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def heed_the_launcher() -> None:
    """Turn the launcher's request to end into :class:`Stopped`."""

    def stop(*_: Any) -> NoReturn:
        heed_nothing()
        raise Stopped

    signal.signal(signal.SIGTERM, stop)
