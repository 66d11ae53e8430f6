"""What can be said of a GPU without one: work, bytes and launches by stage, least times.

A *floor* is the least time of a stage: its work at a card's rate of arithmetic, or the bytes that
its kernels read and write at the bandwidth of memory, whichever takes longer. Only a cache that
keeps a tensor from one kernel to the next can beat the second. Book: *Roofline by stage*.
"""

from __future__ import annotations

import pandas as pd
import torch

from unet_atlas import cost
from unet_atlas.anatomy import stages
from unet_atlas.build import build_unet
from unet_atlas.gpu.published import Card
from unet_atlas.tables import Table, mebibytes


def stage_work(
    model: str,
    latent: int | None = None,
    batch: int = 2,
    dtype: torch.dtype = torch.bfloat16,
    fused_attention: bool = True,
) -> pd.DataFrame:
    """MACs, bytes moved at least and operations of each stage in one pass, in eager mode.

    Args:
        model: as for :func:`unet_atlas.build.build_unet`.
        batch: 2 is one guided step of one image.

    Returns:
        Index: stages from stem to head; columns ``macs``, ``moved`` (bytes), ``operations``.
    """
    unet = build_unet(model, dtype=dtype)
    macs = cost.count(unet, latent=latent, batch=batch).by_stage()
    traffic = cost.traffic(unet, latent=latent, batch=batch, fused_attention=fused_attention)
    columns = {"macs": macs, "moved": traffic.moved, "operations": traffic.operations}
    order = [stage.key for stage in stages(unet)]
    return pd.DataFrame(columns).reindex(order).rename_axis("stage")


def bounds(work: pd.DataFrame, rate: float, bandwidth: float) -> pd.DataFrame:
    """Least milliseconds of each row of :func:`stage_work`.

    Args:
        rate: FLOP/s.
        bandwidth: bytes/s.

    Returns:
        Columns ``intensity`` (FLOPs for each byte), ``arithmetic`` and ``memory`` (ms), ``floor``
        (ms, the larger of the two).
    """
    arithmetic = 2000 * work["macs"] / rate
    memory = 1000 * work["moved"] / bandwidth
    return pd.DataFrame(
        {
            "intensity": 2 * work["macs"] / work["moved"],
            "arithmetic": arithmetic,
            "memory": memory,
            "floor": pd.concat([arithmetic, memory], axis=1).max(axis=1, skipna=False),
        }
    )


def bounds_table(label: str, work: pd.DataFrame, card: Card, dtype: str = "bf16") -> Table:
    """Work, bytes and floors by stage on a card's data sheet, with the whole pass at the end."""
    data = pd.concat([work, work.sum().to_frame("all stages").T])
    found = bounds(data, card.rates[dtype], card.bandwidth)
    # stages run one after the other, so that their floors add up
    found.loc["all stages", "floor"] = found["floor"][:-1].sum()
    shown = pd.DataFrame(
        {
            "stage": data.index,
            "GFLOPs": [f"{2 * v / 1e9:,.1f}" for v in data["macs"]],
            "bytes": [mebibytes(v) for v in data["moved"]],
            "FLOPs a byte": [f"{v:,.0f}" for v in found["intensity"]],
            "arithmetic, ms": [f"{v:.3f}" for v in found["arithmetic"]],
            "memory, ms": [f"{v:.3f}" for v in found["memory"]],
            "floor, ms": [f"{v:.3f}" for v in found["floor"]],
            "operations": [f"{v:,.0f}" for v in data["operations"]],
        }
    )
    caption = f"{label}: floors by stage on the data sheet of {card.name}, {dtype}, eager mode"
    return Table("floors", caption, shown, data.join(found).rename_axis("stage").reset_index())


def over_batch(work: pd.DataFrame, weights: int, images: list[int]) -> pd.DataFrame:
    """MACs and bytes of guided steps of several images, from the work of one.

    Each weight is read once for all samples; every other byte, and every MAC, belongs to one.

    Args:
        work: of :func:`stage_work`, for one image.
        weights: bytes of the model's weights.
    """
    macs, each = int(work["macs"].sum()), int(work["moved"].sum()) - weights
    rows = [{"macs": n * macs, "moved": weights + n * each} for n in images]
    return pd.DataFrame(rows, index=pd.Index(images, name="images"))
