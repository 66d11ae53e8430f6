"""UNet Atlas: the UNets of the Stable Diffusion family, side by side."""

__version__ = "0.1.0"
