"""Scores of generated pictures, each with its interval, checked against closed forms and libraries.

``frechet`` (FID and FID∞), ``kernels`` (KID, CMMD) and ``neighbours`` (precision, recall, density,
coverage) compare two sets of features; ``clipscore`` compares pictures with captions;
``bootstrap`` gives every one of them an interval; ``features`` turns pictures into features;
``torchmetrics_check`` runs the same features through torchmetrics.

Throughout, the first set of features is the generated one and the second the reference.
Pure mathematics on float64 arrays: nothing here knows the picture world or the mini family.
"""
