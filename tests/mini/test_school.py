"""The order of training, with one step a stage: everything ends as folders that pipelines load."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import diffusers
import pytest
import torch
from transformers import CLIPModel, CLIPTokenizer

from unet_atlas.errors import AtlasError
from unet_atlas.mini import school as school_module
from unet_atlas.mini.members import CLIPS, MEMBERS, SCORER
from unet_atlas.mini.school import PLANS, School, history


@pytest.fixture(scope="module")
def school(tmp_path_factory):
    """A school that has trained every stage for one step on 16 pictures."""
    folder = tmp_path_factory.mktemp("school")
    made = School(folder / "work", torch.device("cpu"), 16)
    short = {k: replace(plan, steps=1, batch=2) for k, plan in PLANS.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(school_module, "PLANS", short)
        for stage in (*CLIPS, "vae", *MEMBERS):
            assert "1 steps" in made.train(stage)
        for name in (*MEMBERS, SCORER):
            made.graduate(name, folder / "models" / name)
        yield made


def models(school):
    """The folder of the finished models."""
    return school.work.parent / "models"


def test_what_is_trained_is_not_trained_again_unless_for_longer(school):
    assert "already trained for 1 steps" in school.train("scorer")
    before = school.load("scorer").state_dict()
    assert "2 steps" in school.train("scorer", 2)
    after = school.load("scorer").state_dict()
    assert any(not torch.equal(before[k], v) for k, v in after.items())


@pytest.mark.parametrize("name", MEMBERS)
def test_the_ordinary_pipeline_loads_the_folder(school, name):
    pipe = getattr(diffusers, MEMBERS[name].pipeline).from_pretrained(models(school) / name)
    assert {p.dtype for p in pipe.unet.parameters()} == {torch.float32}
    assert {p.dtype for p in pipe.text_encoder.parameters()} == {torch.float32}
    assert pipe.vae.config.scaling_factor == school.latent_scale
    trained = school.load(name).state_dict()
    for key, weight in pipe.unet.state_dict().items():
        assert torch.equal(weight, trained[key].half().float())


@pytest.mark.parametrize("name", MEMBERS)
def test_training_reads_the_text_as_the_pipeline_does(school, name):
    """The features that a UNet is trained on are those that its pipeline hands it."""
    pipe = getattr(diffusers, MEMBERS[name].pipeline).from_pretrained(models(school) / name)
    caption = "a small red circle left of a blue square"
    hidden, pooled = school.text_features(MEMBERS[name].text, (caption, ""))
    given = pipe.encode_prompt(
        prompt=caption, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=True
    )
    assert torch.allclose(given[0][0], hidden[0].float(), atol=4e-3)
    if name == "mini-sdxl":
        assert torch.allclose(given[2][0], pooled[0].float(), atol=4e-3)
        assert not given[1].any()
        assert not school.lesson(name).texts[-1].any()
    else:
        assert torch.allclose(given[1][0], hidden[1].float(), atol=4e-3)


def test_unclip_is_trained_on_what_its_pipeline_computes(school):
    name = "mini-unclip"
    pipe = diffusers.StableUnCLIPImg2ImgPipeline.from_pretrained(models(school) / name)
    lesson = school.lesson(name)
    images = school.data(accidents=False).images
    pixels = pipe.feature_extractor(list(images), return_tensors="pt").pixel_values
    with torch.inference_mode():
        embedded = pipe.image_encoder(pixels).image_embeds
    # compared before they are normalised, which would magnify the rounding of the saved weights
    normalizer = pipe.image_normalizer
    with torch.inference_mode():
        assert torch.allclose(embedded, normalizer.unscale(lesson.images), atol=4e-3)
    assert torch.equal(normalizer.mean, lesson.mean.half().float())
    assert torch.equal(normalizer.std, lesson.std.half().float())
    wider = school.fresh(name)
    start = school.load("mini-sd2").state_dict()
    assert all(torch.equal(wider.state_dict()[k], v) for k, v in start.items())


def test_the_scorer_is_a_clip_model(school):
    model = CLIPModel.from_pretrained(models(school) / SCORER)
    words = CLIPTokenizer.from_pretrained(models(school) / SCORER)
    tokens = words(["a red ring"], padding="max_length", return_tensors="pt").input_ids
    assert model(
        input_ids=tokens, pixel_values=torch.zeros(1, 3, 64, 64)
    ).logits_per_image.shape == (1, 1)


def test_a_missing_stage_is_named(tmp_path):
    empty = School(tmp_path, torch.device("cpu"), 16)
    with pytest.raises(AtlasError, match=r"vae has to be trained first: .*train_mini.py vae"):
        empty.load("vae")


def test_a_member_can_begin_with_finished_weights(school, tmp_path):
    start = models(school) / "mini-sd"
    run = json.loads((school.work / "mini-sd.json").read_text("utf-8"))
    (start / "exam.json").write_text(json.dumps({"training": run}))
    state = school.begun("mini-sd", start).state_dict()
    finished = school.load("mini-sd").state_dict()
    assert all(torch.equal(state[k], w.half().float()) for k, w in finished.items())
    for path in school.work.glob("*.safetensors"):
        shutil.copy(path, tmp_path)
    (tmp_path / "mini-sd.safetensors").unlink()
    other = School(tmp_path, torch.device("cpu"), 16)
    assert "2 steps" in other.train("mini-sd", 2, start=start)
    told = json.loads((tmp_path / "mini-sd.json").read_text("utf-8"))
    assert [r["outcome"]["steps"] for r in (*told["before"], told)] == [1, 2]


def test_what_no_member_can_begin_with(school, tmp_path):
    with pytest.raises(AtlasError, match="holds no UNet that mini-sd can start from"):
        school.begun("mini-sd", models(school) / "mini-sdxl")
    with pytest.raises(AtlasError, match="holds no UNet"):
        school.begun("mini-sd", tmp_path)
    with pytest.raises(AtlasError, match="doesn't say how it was trained"):
        history(tmp_path)
