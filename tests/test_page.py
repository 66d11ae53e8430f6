"""Chapters' helpers: values for the prose, claims that stop the build when false."""

from __future__ import annotations

import sys

import pytest

from unet_atlas import page


def test_true_claims_become_a_table() -> None:
    table = page.prove({"2 + 2 = 4": 2 + 2 == 4, "3 levels": True})
    assert list(table.shown["this page says"]) == ["2 + 2 = 4", "3 levels"]


def test_a_false_claim_stops_the_page_and_is_named() -> None:
    with pytest.raises(AssertionError, match="860M; 865M"):
        page.prove({"860M": False, "3 levels": True, "865M": 1 == 2})


def test_said_values_reach_the_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {}
    monkeypatch.setattr("myst_nb.glue", lambda name, value, display: said.update({name: value}))
    page.say(sd15_params=859, name="x")
    assert said == {"sd15-params": "859", "name": "x"}


def test_without_the_book_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "myst_nb", None)
    page.say(a=1)
