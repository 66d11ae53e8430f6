"""Configurations: what is accepted, and one clear sentence for everything else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unet_atlas import catalog, config
from unet_atlas.errors import AtlasError

TINY = {
    "_class_name": "UNet2DConditionModel",
    "sample_size": 8,
    "block_out_channels": [8, 16],
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    "norm_num_groups": 4,
    "cross_attention_dim": 12,
    "attention_head_dim": 2,
}


def saved(folder: Path, content: object) -> Path:
    file = folder / "config.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def test_a_catalogue_id_has_every_default_filled_in() -> None:
    label, found = config.resolve("sdxl-base-1.0")
    assert label == "sdxl-base-1.0"
    assert set(found) == set(config.DEFAULTS)
    assert found["transformer_layers_per_block"] == (1, 2, 10)
    assert found["norm_eps"] == 1e-5


def test_file_unet_folder_and_pipeline_folder_say_the_same(tmp_path: Path) -> None:
    unet = tmp_path / "my-pipeline" / "unet"
    unet.mkdir(parents=True)
    file = saved(unet, TINY)
    answers = [config.resolve(path) for path in (file, unet, unet.parent, str(unet.parent))]
    assert {label for label, _ in answers} == {"my-pipeline"}
    assert all(found == answers[0][1] for _, found in answers)


def test_a_lone_json_file_is_labelled_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(TINY))
    assert config.resolve(file)[0] == "mine"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"_class_name": "UNet2DModel"}, "_class_name is 'UNet2DModel'"),
        ({"_class_name": ["os", "system"]}, "_class_name"),
        ({"block_out_channels": "big"}, "block_out_channels is 'big'"),
        ({"block_out_channels": [8, -16]}, "block_out_channels is -16"),
        ({"block_out_channels": [8, 0]}, "block_out_channels is 0"),
        ({"block_out_channels": [8, 10**30]}, "block_out_channels is 1000"),
        ({"block_out_channels": [8, 16.0]}, "block_out_channels is 16.0"),
        ({"block_out_channels": [8, True]}, "block_out_channels is True"),
        ({"block_out_channels": [8, 16, 32]}, "has 3 entries for 2"),
        ({"block_out_channels": 8}, "block_out_channels takes a list"),
        ({"block_out_channels": {"a": 1}}, "block_out_channels is {'a': 1}"),
        (
            {"down_block_types": ["EvilBlock2D", "DownBlock2D"]},
            "down_block_types names 'EvilBlock2D'",
        ),
        ({"down_block_types": "DownBlock2D"}, "it takes a list"),
        ({"down_block_types": []}, "it takes a list"),
        ({"down_block_types": [["DownBlock2D"], "DownBlock2D"]}, "down_block_types names"),
        ({"up_block_types": ["UpBlock2D"]}, "up_block_types has 1 entries"),
        ({"mid_block_type": "Nope"}, "mid_block_type names 'Nope'"),
        ({"act_fn": "__import__('os').system('id')"}, "act_fn names"),
        ({"use_linear_projection": "yes"}, "use_linear_projection is 'yes'"),
        ({"norm_eps": "small"}, "norm_eps is 'small'"),
        ({"norm_eps": float("nan")}, "norm_eps is nan"),
        ({"layers_per_block": 1000}, "layers_per_block is 1000"),
        ({"transformer_layers_per_block": [64, 64], "layers_per_block": 60}, "transformer blocks"),
        ({"sample_size": -1}, "sample_size is -1"),
        ({"sample_size": [8]}, "it takes a height and a width"),
        ({"sample_size": [None, None]}, "sample_size is None"),
        ({"sample_size": [[8], [8]]}, "nested so"),
        ({"transformer_layers_per_block": [[], []]}, "neither empty"),
        ({"layers_per_block": [[1], [1]]}, "nested so"),
        ({"num_class_embeds": [1, 2]}, "it takes one value"),
        ({"reverse_transformer_layers_per_block": [1]}, "has 1 entries for 2"),
        ({"norm_eps": 10**400}, "it takes a number of at most 1e+09"),
        ({"layers_per_block": [64, 64], "reverse_transformer_layers_per_block": [9, 9]}, "1000"),
        ({"made_up": 1}, "unknown key 'made_up'"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, change: dict, words: str) -> None:
    file = saved(tmp_path, {**TINY, **change})
    with pytest.raises(AtlasError) as raised:
        config.resolve(file)
    message = str(raised.value)
    assert words in message
    assert str(file) in message
    assert "\n" not in message
    assert len(message) < 600


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "not valid JSON"),
        ('{"block_out_channels": [320,', "not valid JSON"),
        ("\x00\x01", "not valid JSON"),
        ("[1, 2]", "no JSON object"),
        ("3", "no JSON object"),
        ("null", "no JSON object"),
        ('{"block_out_channels": ' + "[" * 900 + "8" + "]" * 900 + "}", "nested so"),
        ("{}", "no key of UNet2DConditionModel"),
        ("[" * 100_000, "not valid JSON"),
        ('{"a": "' + "x" * 1_100_000 + '"}', "at most 1 MB"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(AtlasError, match=words):
        config.resolve(saved(tmp_path, content))


def test_a_binary_file(tmp_path: Path) -> None:
    file = tmp_path / "weights.bin"
    file.write_bytes(bytes(range(128, 256)))
    with pytest.raises(AtlasError, match="not valid JSON"):
        config.resolve(file)


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match="holds no UNet"):
        config.resolve(tmp_path)


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = saved(tmp_path, TINY)

    def refuse(*args: object, **kwargs: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(AtlasError, match="can't be read: Permission denied"):
        config.resolve(file)


@pytest.mark.parametrize("name", ["nope", "x" * 5000, "a\x00b", ""])
def test_a_name_that_is_nothing(name: str) -> None:
    with pytest.raises(AtlasError):
        config.resolve(name)


def test_a_typo_suggests_the_nearest_id() -> None:
    with pytest.raises(AtlasError, match=r"did you mean 'sdxl-base-1\.0'"):
        config.resolve("sdxl-bse-1.0")


def test_every_model_is_far_below_the_limit_of_blocks() -> None:
    for model in catalog.ids():
        _, found = config.resolve(model)
        assert config._blocks(found, len(found["down_block_types"])) <= config.MAX_BLOCKS / 10


def test_none_in_a_list_means_one_head() -> None:
    assert config.check({**TINY, "attention_head_dim": [None, None]}, "here")
