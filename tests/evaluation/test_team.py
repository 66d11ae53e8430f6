"""What processes say to each other, in threads; the launches are in test_launch.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from launching import in_threads

from unet_atlas.errors import AtlasError
from unet_atlas.evaluation import team as teams
from unet_atlas.evaluation.team import (
    Lost,
    Team,
    Together,
    agreed,
    by_first,
    check_alike,
    dealt,
    device_of,
    join,
)


def test_alone_everything_is_its_own() -> None:
    alone = Team()
    assert alone.first
    assert alone.gather([1, 2]) == [1, 2]
    assert alone.share("x") == "x"
    assert np.array_equal(alone.total(np.ones(2)), np.ones(2))
    alone.wait()
    assert agreed(alone, lambda: 3) == by_first(alone, lambda: 3) == 3


def test_dealing_gives_each_item_once() -> None:
    hands = [dealt(range(11), rank, 3) for rank in range(3)]
    assert sorted(item for hand in hands for item in hand) == list(range(11))
    assert max(map(len, hands)) - min(map(len, hands)) <= 1


def fail(sentence: str) -> None:
    raise AtlasError(sentence)


def test_a_fault_of_all_is_said_without_a_number() -> None:
    found = in_threads(3, lambda team: agreed(team, lambda: fail("No file.")))
    assert [str(error) for error in found] == ["No file."] * 3
    assert all(isinstance(error, Together) for error in found)


def test_a_fault_of_one_stops_all_with_its_number() -> None:
    found = in_threads(
        3, lambda team: agreed(team, lambda: fail("No GPU.") if team.rank == 2 else team.rank)
    )
    assert [str(error) for error in found] == ["process 2 of 3: No GPU."] * 3
    assert in_threads(2, lambda team: agreed(team, lambda: team.rank)) == [0, 1]


def test_processes_that_differ_are_stopped() -> None:
    def check(team: Team) -> None:
        check_alike(team, {"device": "cpu", "weights": "b" if team.rank == 1 else "a"})

    found = in_threads(3, check)
    said = "The processes differ in their weights: a for process 0, b for process 1; give all of "
    assert [str(error) for error in found] == [f"{said}them the same."] * 3
    assert all(isinstance(error, Together) for error in found)
    assert in_threads(2, lambda team: check_alike(team, {"device": "cpu"})) == [None, None]


@pytest.mark.parametrize("launched", [True, False])
def test_gloo_is_named_in_a_launch_only(monkeypatch: pytest.MonkeyPatch, launched: bool) -> None:
    asked = {}

    class State:
        process_index, num_processes, local_process_index = 1, 2, 1

        def __init__(self, **words: object) -> None:
            asked.update(words)

    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if launched:
        monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(teams, "PartialState", State)
    assert join(9) == Team(1, 2, 1, 9)
    assert asked["timeout"].total_seconds() == 9
    assert asked.get("backend") == ("gloo" if launched else None)
    assert asked["cpu"]


def test_alone_it_joins_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert join(9) == Team(patience=9)


def test_the_first_does_it_for_all() -> None:
    done = []
    found = in_threads(3, lambda team: by_first(team, lambda: done.append(team.rank) or "read"))
    assert (found, done) == (["read"] * 3, [0])
    found = in_threads(2, lambda team: by_first(team, lambda: fail("No file.")))
    assert [str(error) for error in found] == ["No file."] * 2


def test_a_lost_process_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("[gloo] Connection closed by peer")

    monkeypatch.setattr(teams, "gather_object", broken)
    with pytest.raises(Lost, match=r"ended, or did not answer within 9 s; start the same command"):
        Team(0, 2, patience=9).gather([1])
    with pytest.raises(Lost):  # and not turned into a fault of this process's own
        agreed(Team(0, 2), lambda: Team(0, 2).wait())


@pytest.mark.parametrize("patience", [0, -1, float("nan"), float("inf")])
def test_a_patience_that_cant_be_kept(patience: float) -> None:
    with pytest.raises(AtlasError, match=r"patience of .* can't be kept"):
        join(patience)


def test_gpus_are_dealt_to_the_processes_of_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_of(Team(5, 8, local=1), "best") == "cuda:1"
    assert device_of(Team(5, 8, local=1), "cpu") == "cpu"
    assert device_of(Team(), "cuda:1") == "cuda:1"
    assert device_of(Team(), "best") == "cuda"
    with pytest.raises(AtlasError, match="has 2 GPUs and a process number 2"):
        device_of(Team(2, 8, local=2), "cuda")
    with pytest.raises(AtlasError, match="one GPU for 8 processes"):
        device_of(Team(2, 8, local=0), "cuda:0")
