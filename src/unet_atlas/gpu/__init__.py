"""The GPU lane: measure the real UNets on a CUDA device, keep it as a record, read it back.

``run`` holds what one session on one device measured; the other modules measure one thing each.
Book: the part *On a GPU*.
"""
