"""The mini family: Stable Diffusion in miniature, trained on the picture world, shipped in models/.

``members`` says what each network is, ``words`` makes the tokenizer, ``networks`` builds,
``pictures`` makes training data, ``training`` is the loop (EMA, checkpoint, resume), ``lessons``
the losses, ``pipelines`` the folders that diffusers' own pipelines load.
"""

from unet_atlas.mini.members import MEMBERS, folder

__all__ = ["MEMBERS", "folder"]
