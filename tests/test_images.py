"""Folders of images and files of captions: what is read, and the one sentence for each fault."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unet_atlas.errors import AtlasError
from unet_atlas.images import (
    Captions,
    as_uint8,
    open_folder,
    read_captions,
    read_facts,
    read_image,
    write_png,
)

PICTURE = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def written(folder: Path, *names: str) -> Path:
    for i, name in enumerate(names):
        write_png(folder / name, np.roll(PICTURE, i))
    return folder


def test_a_folder_in_natural_order(tmp_path: Path) -> None:
    opened = open_folder(written(tmp_path, "10.png", "2.png", "b1.png", ".hidden.png"))
    assert (opened.ids, opened.size, len(opened)) == (("2", "10", "b1"), (8, 6), 3)
    assert np.array_equal(opened.load(1), np.stack([PICTURE, np.roll(PICTURE, 2)]))
    assert [len(part) for part in opened.batches(2)] == [2, 1]


def test_a_png_keeps_its_pixels_and_its_text(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", PICTURE, {"caption": "ein Kreis, größer", "seed": "7"})
    assert np.array_equal(read_image(tmp_path / "a.png"), PICTURE)
    assert read_facts(tmp_path / "a.png") == {"caption": "ein Kreis, größer", "seed": "7"}
    assert [f.name for f in tmp_path.iterdir()] == ["a.png"]
    Image.fromarray(PICTURE).save(tmp_path / "b.jpg")
    assert read_facts(tmp_path / "b.jpg") == {}
    assert read_facts(tmp_path / "none.png") == {}


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    end = zlib.crc32(name + content).to_bytes(4, "big")
    return len(content).to_bytes(4, "big") + name + content + end


def test_a_flipped_bit_that_loading_takes_has_no_facts(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    write_png(file, PICTURE, {"seed": "7"})
    whole = file.read_bytes()
    at = whole.index(b"IDAT") - 4
    rows = b"".join(b"\0" + row.tobytes() for row in PICTURE)
    packed = zlib.compress(rows, 0)
    # zlib's own checksum alone in the last chunk: Pillow has all rows before it comes there
    cut = whole[:at] + chunk(b"IDAT", packed[:-4]) + chunk(b"IDAT", packed[-4:])
    content = bytearray(cut + chunk(b"IEND", b""))
    file.write_bytes(content)
    assert np.array_equal(read_image(file), PICTURE)
    assert read_facts(file) == {"seed": "7"}
    content[at + 60] ^= 1
    file.write_bytes(content)
    assert not np.array_equal(read_image(file), PICTURE)
    assert read_facts(file) == {}


@pytest.mark.parametrize("name", ["no/a.png", "a\0.png"])
def test_a_png_that_cant_be_written_leaves_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(AtlasError, match="can't be written"):
        write_png(tmp_path / name, PICTURE)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(AtlasError, match="can't be written"):
        write_png(tmp_path / "folder.png", PICTURE)
    assert [f.name for f in tmp_path.iterdir()] == ["folder.png"]


def test_grey_palette_and_opaque_pictures_become_rgb(tmp_path: Path) -> None:
    for mode in ("1", "L", "P", "RGBA", "LA"):
        Image.fromarray(PICTURE).convert(mode).save(tmp_path / f"{mode}.png")
        assert read_image(tmp_path / f"{mode}.png").shape == (6, 8, 3)


def test_a_photograph_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PICTURE).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").shape == (8, 6, 3)
    assert open_folder(tmp_path).size == (6, 8)


def spoil_nothing(folder: Path) -> None:
    (folder / "a.png").unlink()


def spoil_text(folder: Path) -> None:
    (folder / "b.png").write_text("hello")


def spoil_empty(folder: Path) -> None:
    (folder / "b.png").write_bytes(b"")


def spoil_size(folder: Path) -> None:
    written(folder, "b.png", "c.png")
    Image.new("RGB", (3, 4)).save(folder / "d.png")


def spoil_mode(folder: Path) -> None:
    Image.fromarray(PICTURE[..., 0].astype(np.uint16)).save(folder / "b.png")


def spoil_frames(folder: Path) -> None:
    frames = [Image.fromarray(np.roll(PICTURE, i)) for i in range(2)]
    frames[0].save(folder / "b.webp", save_all=True, append_images=frames[1:])


def spoil_twice(folder: Path) -> None:
    Image.fromarray(PICTURE).save(folder / "a.jpg")


def spoil_folder(folder: Path) -> None:
    (folder / "b.png").mkdir()


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (spoil_nothing, "holds no png, jpg or webp image"),
        (spoil_text, "is no image"),
        (spoil_empty, "is no image"),
        (spoil_size, "d.png' is 3 × 4 pixels, most others are 8 × 6"),
        (spoil_mode, "is of mode I;16"),
        (spoil_frames, "is animated"),
        (spoil_twice, "have one id"),
        (spoil_folder, "can't be read: Is a directory"),
    ],
)
def test_a_spoilt_folder(tmp_path: Path, spoil: object, expected: str) -> None:
    written(tmp_path, "a.png")
    spoil(tmp_path)
    with pytest.raises(AtlasError, match=expected):
        open_folder(tmp_path)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match="There is no folder"):
        open_folder(tmp_path / "none")
    with pytest.raises(AtlasError, match="can't be read as a folder: Not a directory"):
        open_folder(written(tmp_path, "a.png") / "a.png")


def test_a_truncated_picture(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for name in ("a.png", "a.jpg"):
        file = tmp_path / name
        Image.fromarray(noise).save(file)
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        with pytest.raises(AtlasError, match=f"{name}' is truncated or damaged"):
            read_image(file)
        assert read_facts(file) == {}


def test_a_transparent_picture_and_none(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (1, 2, 3, 9)).save(tmp_path / "a.png")
    with pytest.raises(AtlasError, match="has transparent pixels"):
        read_image(tmp_path / "a.png")
    with pytest.raises(AtlasError, match="There is no image"):
        read_image(tmp_path / "b.png")


def test_a_picture_with_too_many_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(AtlasError, match="far too many pixels"):
        open_folder(tmp_path)


def test_floats_are_rounded_not_cut() -> None:
    floats = np.array([0.0, 0.499 / 255, 0.501 / 255, 1.0]).repeat(3).reshape(1, 2, 2, 3)
    assert as_uint8(floats)[0, :, :, 0].tolist() == [[0, 0], [1, 255]]
    assert as_uint8(PICTURE[None]).base is PICTURE


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (np.zeros((2, 4, 4)), r"have the shape \(2, 4, 4\)"),
        (np.zeros((0, 4, 4, 3)), "have the shape"),
        (np.zeros((1, 4, 4, 3), np.int64), "are int64"),
        (np.full((2, 4, 4, 3), np.nan), "not finite .* first number 0"),
        (np.full((1, 4, 4, 3), 200.0), "reach from 200 to 200"),
        (np.full((1, 4, 4, 3), -1.0), "reach from -1"),
    ],
)
def test_arrays_that_are_no_images(images: np.ndarray, expected: str) -> None:
    with pytest.raises(AtlasError, match=expected):
        as_uint8(images)


COCO = {
    "images": [{"id": 5, "file_name": "b.jpg"}, {"id": 4, "file_name": "a.jpg"}],
    "annotations": [
        {"id": 9, "image_id": 5, "caption": "later"},
        {"id": 1, "image_id": 5, "caption": "two"},
        {"id": 2, "image_id": 4, "caption": "one"},
    ],
}


@pytest.mark.parametrize(
    ("name", "text", "ids"),
    [
        ("c.csv", 'file,caption\na.png,one\nx/b.png,"two"\n', ("a", "b")),
        ("c.csv", "\ufeffcaption\none\ntwo\n", None),
        ("c.tsv", "id\ttext\na\tone\nb\ttwo\n", ("a", "b")),
        ("c.jsonl", '{"file_name": "a.png", "text": "one"}\n\n{"id": "b", "text": "two"}', None),
        ("c.txt", "one\ntwo\n", None),
        ("c.JSON", json.dumps(COCO), ("a", "b")),
    ],
)
def test_captions_of_every_kind(
    tmp_path: Path, name: str, text: str, ids: tuple[str, ...] | None
) -> None:
    (tmp_path / name).write_text(text, "utf-8")
    found = read_captions(tmp_path / name)
    assert found.texts == ("one", "two")
    assert found.ids == (("a", "b") if name == "c.jsonl" else ids)


def test_a_caption_may_hold_a_line_break(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text('caption\n"a red\ncircle"\nb\n')
    assert read_captions(tmp_path / "c.csv").texts == ("a red\ncircle", "b")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("c.doc", "x", "is no captions file"),
        ("c.csv", "", "holds no captions"),
        ("c.csv", "file,words\na,b\n", "no column 'caption' .it has file, words"),
        ("c.csv", "file,caption\na,one\nb,\n", "caption 2 is empty"),
        ("c.csv", "file,caption\na\n", "caption 1 is empty"),
        ("c.csv", "file,caption\na,one\na.png,two\n", "names the image 'a' twice"),
        ("c.csv", "file,caption\n,one\n", "caption 1 names no image"),
        ("c.csv", 'caption\n"one\n', "is not valid CSV"),
        ("c.txt", "\n", "holds no captions"),
        ("c.txt", "one\n\ntwo\n", "caption 2 is empty"),
        ("c.jsonl", "{", "line 1, is not valid JSON"),
        ("c.jsonl", "[1]", "line 1, is no JSON object"),
        ("c.jsonl", '{"caption": 3}', "caption 1 is empty"),
        ("c.jsonl", '{"id": null, "caption": "a"}', "names no image"),
        ("c.json", "[", "is not valid JSON"),
        ("c.json", "[1]", "is not COCO's"),
        ("c.json", "{}", "is not COCO's"),
        ("c.txt", b"\xff\xfe\x00", "is not UTF-8"),
    ],
)
def test_captions_that_cant_be_read(
    tmp_path: Path, name: str, content: str | bytes, expected: str
) -> None:
    data = content if isinstance(content, bytes) else content.encode()
    (tmp_path / name).write_bytes(data)
    with pytest.raises(AtlasError, match=expected):
        read_captions(tmp_path / name)


def test_no_captions_file(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match="There is no captions file"):
        read_captions(tmp_path / "c.txt")
    os.mkdir(tmp_path / "d.txt")
    with pytest.raises(AtlasError, match="can't be read: Is a directory"):
        read_captions(tmp_path / "d.txt")


def test_captions_find_their_images() -> None:
    by_id, by_place = Captions(("1", "2", "3"), ("a", "b", "c")), Captions(("1", "2", "3"))
    assert by_id.for_images(("c", "a", "b")) == ("3", "1", "2")
    assert by_id.for_images(("b",), subset=True) == ("2",)
    assert by_place.for_images(("x", "y", "z")) == ("1", "2", "3")
    assert by_place.for_images(("x",), subset=True) == ("1",)
    assert by_id.first(2).ids == ("a", "b")
    assert by_place.first(None) == by_place


@pytest.mark.parametrize(
    ("captions", "ids", "expected"),
    [
        (Captions(("1",), ("a",)), ("b",), "no caption for image 'b'"),
        (Captions(("1",), ("a",)), ("b", "c"), "no caption for image 'b' and 1 more"),
        (Captions(("1", "2", "3"), ("a", "b", "c")), ("a",), "no image for caption 'b' and 1 more"),
        (Captions(("1", "2")), ("a",), "2 captions for 1 images"),
    ],
)
def test_captions_that_dont_fit(captions: Captions, ids: tuple[str, ...], expected: str) -> None:
    with pytest.raises(AtlasError, match=expected):
        captions.for_images(ids)
    if len(captions) < len(ids):
        with pytest.raises(AtlasError):
            captions.for_images(ids, subset=True)
