"""What is taken as features, and the sentence for what is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unet_atlas.errors import AtlasError
from unet_atlas.metrics.arrays import features_of, pair_of, values_of


@pytest.mark.parametrize(
    "features",
    [
        [[1, 2], [3, 4]],
        np.array([[1, 2], [3, 4]], np.uint8),
        torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.bfloat16, requires_grad=True),
    ],
)
def test_numbers_of_any_kind_become_float64(features):
    array = features_of(features)
    assert array.dtype == np.float64
    assert array.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("features", "reason"),
    [
        (np.zeros(3), r"shape \(3,\)"),
        (np.zeros((2, 0)), r"shape \(2, 0\)"),
        (np.zeros((1, 3)), "Too few rows.*1; give at least 2"),
        (np.zeros((0, 3)), "Too few rows.*0"),
        ([[0, 1], [2, np.nan]], "NaN or infinity.*row 1"),
        ([[np.inf, 1], [2, 3]], "NaN or infinity.*row 0"),
        ([["a", "b"]], "real numbers"),
        ([[1j, 2], [3, 4]], "real numbers"),
        ([[1, 2], [3]], "rows of equal length"),
        (None, "real numbers"),
    ],
)
def test_bad_features_are_named(features, reason):
    with pytest.raises(AtlasError, match=reason):
        features_of(features, "thing", least=2)


def test_the_two_sets_must_fit():
    with pytest.raises(AtlasError, match="3 columns and the reference features 4"):
        pair_of(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(AtlasError, match="reference features"):
        pair_of(np.zeros((2, 3)), np.full((2, 3), np.nan))


@pytest.mark.parametrize(
    ("values", "reason"),
    [(np.zeros((2, 2)), "list of numbers"), ([], "Too few"), ([1, np.nan], "NaN.*row 1")],
)
def test_bad_values_are_named(values, reason):
    with pytest.raises(AtlasError, match=reason):
        values_of(values, least=1)
