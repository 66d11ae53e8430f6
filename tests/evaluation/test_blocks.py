"""Blocks of pictures: drawn by anyone, gone on with, never mixed with another run's."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_pipelines as tiny
import torch
from diffusers import DiffusionPipeline
from launching import in_threads, pixels
from PIL import Image

from unet_atlas import exam
from unet_atlas.errors import AtlasError
from unet_atlas.evaluation import blocks
from unet_atlas.evaluation.blocks import Artist, blocks_of
from unet_atlas.evaluation.team import Team
from unet_atlas.images import Captions, open_folder, read_image, write_png
from unet_atlas.sampling import Recipe, load_pipeline, sample
from unet_atlas.sampling.folders import rows_of

RECIPE = Recipe(steps=2, guidance=2.0)
TEXTS = (*(f"{caption} {i}" for i, caption in enumerate(tiny.CAPTIONS)), "red circle")
ROWS = rows_of(Captions(TEXTS), 5)
BATCH, ALONE = 4, Team()


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> DiffusionPipeline:
    return tiny.quiet(tiny.stable_diffusion(tmp_path_factory.mktemp("tokenizer")))


def facts_of(pipeline: DiffusionPipeline, **changes: Any) -> dict[str, Any]:
    given = {"recipe": RECIPE, "rows": ROWS, "seed": 5, "batch": BATCH, "latents": None}
    return blocks.facts_of(pipeline, **given | changes)


def draw(
    folder: Path, pipeline: DiffusionPipeline, team: Team = ALONE, latents: Any = None
) -> tuple[int, float]:
    """What is missing of the run."""
    facts = facts_of(pipeline, latents=latents)
    if team.first:
        blocks.begin(folder, ROWS, facts)
    lack = blocks.missing(folder, ROWS, facts, team)
    artist = Artist(pipeline, RECIPE, latents, BATCH)
    return blocks.draw_missing(artist, folder, ROWS, facts, BATCH, lack, team)


@pytest.fixture(scope="module")
def whole(pipeline: DiffusionPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert draw(folder, pipeline)[0] == len(ROWS)
    return folder


def copied(whole: Path, folder: Path) -> Path:
    folder.mkdir()
    for file in whole.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def test_blocks_hold_every_place_once() -> None:
    cut = blocks_of(9, 4)
    assert [list(block) for block in cut] == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]
    assert blocks_of(8, 4)[-1] == range(4, 8)


def test_pictures_are_those_of_sample(pipeline: DiffusionPipeline, whole: Path) -> None:
    texts, seeds = [r["caption"] for r in ROWS], [r["seed"] for r in ROWS]
    direct = sample(pipeline, texts, RECIPE, seeds, batch=BATCH)
    assert np.array_equal(open_folder(whole).load(), direct.images)


@pytest.mark.parametrize("world", [2, 3, 5])
def test_the_number_of_processes_never_shows(
    pipeline: DiffusionPipeline, whole: Path, tmp_path: Path, world: int
) -> None:
    made = 0
    for rank in range(world):  # one after the other: threads would share a pipeline
        facts = facts_of(pipeline)
        blocks.begin(tmp_path, ROWS, facts)
        artist, places = Artist(pipeline, RECIPE, None, BATCH), range(len(ROWS))
        team = Team(rank, world)
        made += blocks.draw_missing(artist, tmp_path, ROWS, facts, BATCH, places, team)[0]
    assert made == len(ROWS)
    assert pixels(tmp_path) == pixels(whole)


def spoil(folder: Path) -> list[int]:
    """Lose, cut off, damage and exchange a picture; which ones."""
    (folder / "00000.png").unlink()
    cut = (folder / "00002.png").read_bytes()
    (folder / "00002.png").write_bytes(cut[: len(cut) // 2])
    damaged = bytearray((folder / "00003.png").read_bytes())
    damaged[-60] ^= 0xFF
    (folder / "00003.png").write_bytes(damaged)
    (folder / "00006.png").write_bytes((folder / "00007.png").read_bytes())
    (folder / "00008.png").write_bytes(b"")
    return [0, 2, 3, 6, 8]


@pytest.mark.parametrize("world", [1, 3])
def test_what_is_missing_damaged_or_foreign_is_found(
    pipeline: DiffusionPipeline, whole: Path, tmp_path: Path, world: int
) -> None:
    folder = copied(whole, tmp_path / "run")
    facts, wanted = facts_of(pipeline), spoil(folder)
    found = in_threads(world, lambda team: blocks.missing(folder, ROWS, facts, team))
    assert found == [wanted] * world


def test_another_recipes_picture_is_foreign(
    pipeline: DiffusionPipeline, whole: Path, tmp_path: Path
) -> None:
    folder, facts = copied(whole, tmp_path / "run"), facts_of(pipeline)
    other = facts | {"recipe": facts["recipe"] | {"steps": 3}}
    write_png(folder / "00001.png", read_image(whole / "00001.png"), blocks.text_of(ROWS[1], other))
    assert blocks.missing(folder, ROWS, facts, ALONE) == [1]


def test_only_what_is_missing_is_written(
    pipeline: DiffusionPipeline, whole: Path, tmp_path: Path
) -> None:
    folder = copied(whole, tmp_path / "run")
    lost = spoil(folder)
    before = {f.name: f.stat().st_mtime_ns for f in folder.glob("*.png")}
    made, _ = draw(folder, pipeline)
    assert pixels(folder) == pixels(whole)
    assert made == len(ROWS)  # each of the three blocks lacked one
    after = {f.name: f.stat().st_mtime_ns for f in sorted(folder.glob("*.png"))}
    written = [name for name, time in after.items() if time != before.get(name)]
    assert written == [ROWS[i]["file"] for i in lost]
    assert draw(folder, pipeline)[0] == 0


def test_a_run_that_differs_is_refused(
    pipeline: DiffusionPipeline, whole: Path, tmp_path: Path
) -> None:
    before = {f.name: f.read_bytes() for f in whole.iterdir()}
    latents = np.zeros((1, 4, 16, 16), np.float32)
    changes = {"recipe": Recipe(steps=3), "seed": 6, "batch": 3, "latents": latents}
    for name, value in changes.items():
        key = {"seed": "base_seed"}.get(name, name)
        with pytest.raises(AtlasError, match=f"begun with another {key} "):
            blocks.begin(whole, ROWS, facts_of(pipeline, **{name: value}))
    with pytest.raises(AtlasError, match="begun with another weights"):
        blocks.begin(whole, ROWS, facts_of(pipeline) | {"weights": "0"})
    with pytest.raises(AtlasError, match="other captions or seeds"):
        blocks.check_folder(whole, ROWS[:4])
    assert {f.name: f.read_bytes() for f in whole.iterdir()} == before


def test_what_is_no_run_is_left_alone(tmp_path: Path) -> None:
    blocks.check_folder(tmp_path / "new", ROWS)
    blocks.check_folder(tmp_path, ROWS)
    (tmp_path / "holiday.txt").write_text("x")
    with pytest.raises(AtlasError, match="is not empty and holds no run"):
        blocks.check_folder(tmp_path, ROWS)
    with pytest.raises(AtlasError, match="can't be read as a folder: Not a directory"):
        blocks.check_folder(tmp_path / "holiday.txt", ROWS)


def test_a_folder_that_cant_be_made(pipeline: DiffusionPipeline, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(AtlasError, match="can't be made a folder: Not a directory"):
        blocks.begin(tmp_path / "file" / "run", ROWS, facts_of(pipeline))


def test_a_run_that_cant_begin_leaves_no_folder(
    pipeline: DiffusionPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise AtlasError("No space.")

    monkeypatch.setattr(blocks, "write_tables", full)
    with pytest.raises(AtlasError, match="No space"):
        blocks.begin(tmp_path / "run", ROWS, facts_of(pipeline))
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_a_sentence_and_leaves_no_half_picture(
    pipeline: DiffusionPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, saved = Image.Image.save, []

    def full(self: Image.Image, file: Path, *more: Any, **words: Any) -> None:
        saved.append(file)
        if len(saved) > 2:
            Path(file).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(self, file, *more, **words)

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(AtlasError) as caught:
        draw(tmp_path / "run", pipeline)
    assert str(caught.value) == (
        f"'{tmp_path / 'run' / '00002.png'}' can't be written: No space left on device; mend that, "
        "and the same command goes on."
    )
    names = {f.name for f in (tmp_path / "run").iterdir()}
    assert names == {"captions.csv", "provenance.json", "00000.png", "00001.png"}
    monkeypatch.undo()
    assert draw(tmp_path / "run", pipeline)[0] == len(ROWS)
    assert len(pixels(tmp_path / "run")) == len(ROWS)


class Narrow:
    """A pipeline that holds no more than so many pictures."""

    def __init__(self, pipeline: DiffusionPipeline, most: int) -> None:
        self.pipeline, self.most, self.asked = pipeline, most, []
        self.scheduler, self.unet, self.device = pipeline.scheduler, pipeline.unet, pipeline.device

    def __call__(self, prompt: list[str], **words: Any) -> Any:
        self.asked.append(len(prompt))
        if len(prompt) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate …")
        return self.pipeline(prompt=prompt, **words)


def test_out_of_memory_halves_the_batch(pipeline: DiffusionPipeline, whole: Path) -> None:
    narrow, said = Narrow(pipeline, 1), []
    artist = Artist(narrow, RECIPE, None, 4, said.append)
    images = np.concatenate([artist.draw(ROWS[b.start : b.stop], b) for b in blocks_of(9, 4)])
    assert narrow.asked == [4, 2, *[1] * 9]
    assert said == [
        "not enough memory; 2 pictures at once from here on",
        "not enough memory; 1 picture at once from here on",
    ]
    assert artist.size == 1
    assert np.abs(images.astype(int) - open_folder(whole).load()).max() <= 1


class Broken(torch.nn.Module):
    """A module whose first call finds no memory."""

    def __init__(self, call: Any, error: RuntimeError) -> None:
        super().__init__()
        self.call, self.errors = call, [error]

    def forward(self, *given: Any, **words: Any) -> Any:
        if self.errors:
            raise self.errors.pop()
        return self.call(*given, **words)


def test_the_decoder_keeps_its_dtype_when_memory_ends_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    xl = tiny.quiet(tiny.xl(tmp_path)).to(dtype=torch.float16)
    xl.vae.register_to_config(force_upcast=True)
    short = Broken(xl.vae.decode, torch.OutOfMemoryError("CUDA out of memory."))
    monkeypatch.setattr(xl.vae, "decode", short.forward)
    artist = Artist(xl, RECIPE, None, 2, lambda _: None)
    assert artist.draw(ROWS[:2], range(2)).shape == (2, 32, 32, 3)
    assert (artist.size, xl.vae.dtype) == (1, torch.float16)


def test_a_library_without_memory_halves_the_batch_too(
    pipeline: DiffusionPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`")
    monkeypatch.setattr(pipeline.vae, "decode", Broken(pipeline.vae.decode, error).forward)
    artist = Artist(pipeline, RECIPE, None, 2, lambda _: None)
    assert len(artist.draw(ROWS[:2], range(2))) == 2
    assert artist.size == 1
    monkeypatch.setattr(pipeline.vae, "decode", Broken(None, RuntimeError("a fault")).forward)
    with pytest.raises(RuntimeError, match="a fault"):
        artist.draw(ROWS[:2], range(2))


def test_the_smallest_batch_is_kept_for_those_who_go_on(
    pipeline: DiffusionPipeline, tmp_path: Path
) -> None:
    facts = facts_of(pipeline)
    assert blocks.begin(tmp_path, ROWS, facts)["smallest_batch"] == BATCH
    artist = Artist(Narrow(pipeline, 2), RECIPE, None, BATCH, lambda _: None)
    blocks.draw_missing(artist, tmp_path, ROWS, facts, BATCH, [0], ALONE)
    assert blocks.begin(tmp_path, ROWS, facts)["smallest_batch"] == 2
    blocks.keep_size(tmp_path, 3)  # another process, that found more memory
    assert blocks.begin(tmp_path, ROWS, facts)["smallest_batch"] == 2


def test_a_last_block_that_is_too_large_is_halved_too(pipeline: DiffusionPipeline) -> None:
    artist = Artist(Narrow(pipeline, 1), RECIPE, None, 16, lambda _: None)
    assert len(artist.draw(ROWS[:3], range(3))) == 3
    assert artist.size == 1


def test_not_even_one_picture(pipeline: DiffusionPipeline) -> None:
    artist = Artist(Narrow(pipeline, 0), RECIPE, None, 2, lambda _: None)
    with pytest.raises(AtlasError, match="for even one picture; take a smaller --dtype"):
        artist.draw(ROWS[:2], range(2))


def test_fixed_latents_are_where_pictures_start(
    pipeline: DiffusionPipeline, tmp_path: Path
) -> None:
    each = np.random.default_rng(0).normal(size=(9, 4, 16, 16)).astype(np.float32)
    draw(tmp_path / "each", pipeline, latents=each)
    draw(tmp_path / "one", pipeline, latents=each[:1])
    own, same = (open_folder(tmp_path / name).load().astype(int) for name in ("each", "one"))
    assert np.array_equal(own[0], same[0])
    assert not np.array_equal(own[5], same[5])
    prompt = {"prompt": [ROWS[5]["caption"]], "num_inference_steps": 2, "guidance_scale": 2.0}
    direct = pipeline(**prompt, latents=torch.from_numpy(each[5:6]), output_type="np").images
    assert np.abs(own[5] - (direct[0] * 255).round()).max() <= 1
    text = blocks.text_of(ROWS[0], facts_of(pipeline, latents=each))
    assert len(text["latents"]) == 64


def test_a_weight_more_or_less_shows(pipeline: DiffusionPipeline) -> None:
    before = blocks.weights_digest(pipeline)
    assert before == blocks.weights_digest(pipeline)
    weight = next(pipeline.vae.parameters())
    with torch.no_grad():
        kept = weight.flatten()[0].item()
        weight.view(-1)[0] = kept + 1
        changed = blocks.weights_digest(pipeline)
        weight.view(-1)[0] = kept
    assert changed != before == blocks.weights_digest(pipeline)


def test_another_batch_moves_a_level_at_most() -> None:
    pipeline, captions = load_pipeline("mini-sd", "cpu", torch.float32), exam.paper(16).captions
    few, many = (
        sample(pipeline, captions, Recipe("dpm++", 4, 3.0), batch=batch).images.astype(int)
        for batch in (4, 16)
    )
    moved = np.abs(few - many)
    assert moved.max() <= 1
    assert (moved > 0).mean() <= 0.001


def test_other_threads_are_another_run(whole: Path, pipeline: DiffusionPipeline) -> None:
    facts = facts_of(pipeline)
    assert facts["threads"] == torch.get_num_threads()
    assert blocks.threads_of(torch.device("cuda")) is None
    with pytest.raises(AtlasError, match="begun with another threads "):
        blocks.begin(whole, ROWS, facts | {"threads": facts["threads"] + 1})


def test_pictures_that_are_seen_late_are_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "0.png").touch()
    monkeypatch.setattr(blocks.time, "sleep", lambda _: (tmp_path / "1.png").touch())
    blocks.await_files(tmp_path, ["0.png", "1.png"], 60)
    assert (tmp_path / "1.png").exists()
    with pytest.raises(AtlasError, match=r"2\.png' was drawn but can't be seen from here"):
        blocks.await_files(tmp_path, ["0.png", "2.png"], 0.05)


def test_provenance_says_all_that_must_agree(pipeline: DiffusionPipeline) -> None:
    facts = facts_of(pipeline)
    assert set(blocks.AGREE) <= set(facts)
    assert json.loads(json.dumps(facts)) == facts
    assert (facts["pictures"], facts["complete"], facts["latents"]) == (9, False, None)
