"""Attention calls are caught however they are written, and other functions left alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from unet_atlas.products import AttentionCalls


def test_a_call_is_caught_with_its_tensors_in_any_order() -> None:
    query, key, value = torch.rand(1, 2, 3, 4), torch.rand(1, 2, 5, 4), torch.rand(1, 2, 5, 6)
    expected, caught = F.scaled_dot_product_attention(query, key, value), []

    def handle(q, k, v, call):
        caught.append((q.shape, k.shape, v.shape))
        return call()

    with AttentionCalls(handle):
        one = F.scaled_dot_product_attention(query, key, value, scale=None)
        other = F.scaled_dot_product_attention(value=value, key=key, query=query)
        F.softmax(query, dim=-1)
    assert caught == 2 * [(query.shape, key.shape, value.shape)]
    assert torch.equal(one, expected)
    assert torch.equal(other, expected)


def test_what_the_handler_returns_is_the_result() -> None:
    with AttentionCalls(lambda q, k, v, call: q):
        q = torch.rand(1, 1, 2, 2)
        assert F.scaled_dot_product_attention(q, q, q) is q
