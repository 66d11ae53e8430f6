"""The plan of an evaluation: a formula against hand counts, a simulation against the formula."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from gpu.sample_run import run

from unet_atlas import catalog
from unet_atlas.errors import AtlasError
from unet_atlas.evaluation import plan
from unet_atlas.evaluation.blocks import blocks_of
from unet_atlas.evaluation.parts import parts_of
from unet_atlas.evaluation.plan import Cluster, Work, closed, simulate

# Round numbers: 1 s a picture of a megapixel, 0.4 s to encode it, 10 ms for each new file.
SMALL = Work("small", pictures=96, batch=4, draw=1.0, side=1000, weights=2e9, features=100)
CHEAP = Cluster(disk=1e9, creations=100.0, matrices=1e9)


def test_one_process_by_hand():
    found = closed(SMALL, CHEAP)
    # 96 pictures of 1 s and 0.4 s of PNG, one file each 10 ms; 10 parts of at most 10 pictures
    assert found.seconds["start"] == 30
    assert found.seconds["weights"] == pytest.approx(2e9 / 1e9)
    assert found.seconds["drawing"] == pytest.approx(96 * (1 + 0.4e-6 * 1e6))
    assert found.seconds["writing"] == pytest.approx(96 * 0.01)
    picture = 0.06e-6 * 1e6 + 2 * 100**2 / 1e9 + 1.6e6 / 1e9
    assert found.seconds["features"] == pytest.approx(10 * 10 * picture)
    assert found.seconds["sums"] == found.seconds["cosines"] == 0
    assert found.seconds["jackknife"] == pytest.approx(11 * (26 + 2 / 3) * 100**3 / 1e9)
    assert found.total == pytest.approx(sum(found.seconds.values()))
    assert found.efficiency == 1
    assert found.gpu_hours == pytest.approx(found.total / 3600)


def test_blocks_and_parts_are_dealt_in_whole():
    assert (SMALL.blocks, SMALL.parts) == (24, 10)
    found = closed(SMALL, replace(CHEAP, processes=7))
    assert found.seconds["drawing"] == pytest.approx(4 * 4 * 1.4)  # ⌈24 / 7⌉ blocks of four
    assert found.seconds["jackknife"] == pytest.approx(3 * (80 / 3) * 100**3 / 1e9)  # ⌈10/7⌉ + 1


@pytest.mark.parametrize(
    ("pictures", "parts"),
    [(30_000, 30), (5_000, 10), (10_001, 11), (96, 10), (19, 9), (3, 1), (1, 1)],
)
def test_parts_are_ten_or_one_a_thousand_with_two_pictures_each(pictures: int, parts: int):
    assert replace(SMALL, pictures=pictures).parts == parts


@pytest.mark.parametrize("pictures", [2, 3, 19, 96, 5_000, 10_001, 30_000])
def test_the_plan_cuts_a_run_as_the_evaluation_does(pictures: int):
    work = replace(SMALL, pictures=pictures)
    assert work.blocks == len(blocks_of(pictures, work.batch))
    assert work.parts == len(parts_of(pictures))


def test_nodes_read_the_weights_once_each():
    seconds = [
        closed(SMALL, replace(CHEAP, processes=g)).seconds["weights"] for g in (1, 8, 9, 1000)
    ]
    assert seconds == pytest.approx([2, 2, 4, 250])


def test_the_ring_and_the_tree_by_hand():
    four = replace(CHEAP, processes=4, link=1e9, latency=1e-3)
    assert plan.ring(8e6, four) == pytest.approx(6 * 2e-3 + 6 * 1e-3)  # 2 · 3/4 · 8 ms + 6 ms
    assert plan.tree(8e6, four) == pytest.approx(4 * 8e-3 + 4 * 1e-3)
    alone = replace(four, processes=1)
    assert plan.ring(8e6, alone) == plan.tree(8e6, alone) == 0


def test_inception_moments_are_33_6_megabytes():
    inception = replace(SMALL, features=2048)
    assert inception.moments == 8 * (2048**2 + 2048) == 33_570_816


def test_the_ring_moves_nearly_the_same_bytes_at_any_number_and_the_tree_takes_over():
    quick = [replace(CHEAP, processes=g, latency=1e-12) for g in (2, 1000)]
    few, many = (plan.ring(33.6e6, c) for c in quick)
    assert many / few == pytest.approx(2 * 0.999 / 1, rel=1e-3)
    slow = replace(CHEAP, processes=1000, latency=1e-3, link=50e9)  # messages are dear
    assert plan.tree(33.6e6, slow) < plan.ring(33.6e6, slow) / 50


@pytest.mark.parametrize(
    ("units", "processes", "own", "shared", "end"),
    [
        (1, 5, 3.0, 1.0, 4.0),
        (4, 1, 3.0, 1.0, 16.0),
        (4, 4, 3.0, 1.0, 7.0),  # all at once, then one after the other
        (6, 4, 3.0, 1.0, 9.0),  # the second round finds the server free
        (5, 4, 3.0, 1.0, 8.0),  # the fifth is ready when the fourth is served, at 7
        (6, 4, 1.0, 3.0, 19.0),  # the server never rests after the first second
    ],
)
def test_waiting_for_one_server_by_hand(
    units: int, processes: int, own: float, shared: float, end: float
):
    assert plan.last_end(units, processes, own, shared) == pytest.approx(end)
    assert plan.queue([own] * units, [shared] * units, processes) == pytest.approx(end)


def test_without_jitter_the_simulation_is_the_formula():
    rng = np.random.default_rng(5)
    for _ in range(200):
        batch = int(rng.integers(1, 9))
        pictures = batch * 10 * int(rng.integers(1, 12))  # full blocks and ten full parts
        work = replace(SMALL, pictures=pictures, batch=batch, draw=float(rng.uniform(0.01, 3)))
        creations = float(10 ** rng.uniform(-1, 3))
        cluster = replace(CHEAP, processes=int(rng.integers(1, 90)), creations=creations)
        expected, found = closed(work, cluster), simulate(work, cluster, jitter=0)
        for phase in plan.PHASES:
            assert found.seconds[phase] == pytest.approx(expected.seconds[phase], rel=1e-9), phase


def test_a_last_block_that_is_not_full_only_ends_sooner():
    for pictures in range(97, 140):
        for g in (1, 3, 8, 40):
            work, cluster = replace(SMALL, pictures=pictures), replace(CHEAP, processes=g)
            found, most = simulate(work, cluster, 0).seconds, closed(work, cluster).seconds
            drawn = [p["drawing"] + p["writing"] for p in (found, most)]
            assert drawn[0] <= drawn[1] * (1 + 1e-12)
            assert found["features"] == pytest.approx(most["features"], rel=0.2)


def test_a_seed_gives_one_plan_and_another_seed_another():
    cluster = replace(CHEAP, processes=6)
    first, again, other = (simulate(SMALL, cluster, 0.2, seed) for seed in (3, 3, 4))
    assert first == again
    assert first.seconds != other.seconds


def test_jitter_costs_little_alone_and_the_slowest_of_many_much():
    many = replace(SMALL, pictures=4 * 24 * 8)
    alone, together = Cluster(), Cluster(processes=192)

    def longer(cluster: Cluster, jitter: float) -> float:
        found = [simulate(many, cluster, jitter, s).seconds["drawing"] for s in range(5)]
        return np.mean(found) / closed(many, cluster).seconds["drawing"]

    assert longer(alone, 0.5) == pytest.approx(1, abs=0.06)  # their median is 0.88
    assert longer(together, 0.2) > 1.4  # the largest of 192 factors, with a spread of 0.2


def test_the_file_system_saturates_where_its_service_fills_a_cycle():
    edge = plan.saturation(SMALL, CHEAP)
    assert edge == 141  # 1 + 1.4 s / 10 ms
    many = replace(SMALL, pictures=4 * edge * 50)

    def a_round(processes: int) -> float:
        cluster = replace(CHEAP, processes=processes)
        more = replace(many, pictures=4 * processes * 51)
        less = replace(many, pictures=4 * processes * 50)
        ends = [closed(w, cluster) for w in (less, more)]
        first, second = (p.seconds["drawing"] + p.seconds["writing"] for p in ends)
        return second - first

    assert a_round(edge) == pytest.approx(4 * 1.41)  # nobody waits
    assert a_round(2 * edge) == pytest.approx(4 * 2 * edge * 0.01)  # the server decides


def test_more_gpus_never_draw_more_slowly_and_are_never_more_efficient():
    plans = [closed(SMALL, replace(CHEAP, processes=g)) for g in (1, 2, 3, 4, 6, 8, 12, 24)]
    drawing = [p.seconds["drawing"] for p in plans]
    assert drawing == sorted(drawing, reverse=True)
    efficiency = [p.efficiency for p in plans]
    assert efficiency == sorted(efficiency, reverse=True)
    assert closed(SMALL, replace(CHEAP, processes=25)).seconds["drawing"] == drawing[-1]


def test_searches_find_the_edge_and_say_where_there_is_none():
    half = plan.least_where(lambda p: p.efficiency < 0.5, SMALL, CHEAP)
    assert closed(SMALL, replace(CHEAP, processes=half)).efficiency < 0.5
    assert closed(SMALL, replace(CHEAP, processes=half - 1)).efficiency >= 0.5
    assert plan.least_where(lambda p: p.total < 0, SMALL, CHEAP) is None
    best = plan.shortest(SMALL, CHEAP)
    near = [closed(SMALL, replace(CHEAP, processes=g)).total for g in range(1, 200)]
    assert best.total == min(near)


def test_seconds_of_a_picture_are_work_over_rate():
    step, rest = 6.760e12 / 2, 0  # one SDXL pass at 1024 px is 6.761 TFLOP
    found = plan.picture_seconds("sdxl-base-1.0", 1e12, 30) - plan.picture_seconds(
        "sdxl-base-1.0", 1e12, 20
    )
    assert found == pytest.approx(10 * 2 * 2 * step / 1e12 + rest, rel=1e-3)


def test_a_published_speed_gives_its_own_time_back():
    assert plan.published_seconds("MLPerf 4.1, pass of 64") == pytest.approx(1 / 2.08)
    assert plan.published_seconds("diffusion-fast: + bf16", 30) == pytest.approx(4.63)
    with pytest.raises(AtlasError, match="No published speed is called 'none such'; there are"):
        plan.published_seconds("none such")


def test_work_of_a_model_weighs_its_pipeline_in_16_bits():
    work = plan.work_of("sdxl-base-1.0", 1.0)
    assert work.weights == 2 * 3_468_837_867
    assert (work.side, work.name) == (1024, catalog.get("sdxl-base-1.0").name)


def test_a_record_gives_the_seconds_of_its_best_batch():
    sample_run = run()
    rows = sample_run.experiments["throughput"].rows
    model = rows[0]["model"]
    best = max(r["images_per_second"] or 0 for r in rows if r["model"] == model)
    assert plan.recorded_seconds(model, sample_run) == pytest.approx(1 / best)
    assert plan.recorded_seconds("sd-2.1-v", sample_run) is None


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: replace(SMALL, pictures=0), "The work's pictures is 0; give a number above zero"),
        (lambda: replace(SMALL, draw=float("nan")), "The work's draw is nan"),
        (lambda: Cluster(processes=-1), "The cluster's processes is -1"),
        (lambda: Cluster(disk=float("inf")), "The cluster's disk is inf"),
        (lambda: simulate(SMALL, CHEAP, jitter=-0.1), "A jitter of -0.1 can't be"),
        (lambda: plan.picture_seconds("sd-1.5", 0.0), "20 steps at 0 FLOP/s are no speed"),
        (lambda: plan.picture_seconds("sd-1.5", 1e12, 0), "0 steps at 1e"),
    ],
)
def test_numbers_that_cannot_be_are_refused(make, words: str):
    with pytest.raises(AtlasError, match=words):
        make()


def test_work_and_cluster_are_plain_values():
    assert Work("w", 10, 2, 1.0, 64, 1e6) == Work("w", 10, 2, 1.0, 64, 1e6)
    assert Cluster(processes=17).nodes == 3
