"""Pictures from a pipeline, one seed a prompt: picture k depends on nothing but its own request.

``pipelines`` loads any folder in diffusers layout, ``samplers`` names diffusers' schedulers,
``pictures`` draws and says how it was done, ``folders`` writes a run to disk and goes on with it.
"""

from unet_atlas.sampling.folders import run_table, sample_into
from unet_atlas.sampling.pictures import Recipe, Sampled, provenance, sample, seed_of
from unet_atlas.sampling.pipelines import load_pipeline, source
from unet_atlas.sampling.samplers import SAMPLERS, scheduler_for

__all__ = [
    "SAMPLERS",
    "Recipe",
    "Sampled",
    "load_pipeline",
    "provenance",
    "run_table",
    "sample",
    "sample_into",
    "scheduler_for",
    "seed_of",
    "source",
]
