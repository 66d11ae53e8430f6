"""Thousands of pictures, drawn and scored by one process or by many: the same at any number.

``protocol`` says what is asked, ``blocks`` draws and resumes, ``parts`` scores, ``results`` writes,
``run`` is the whole. ``team`` is all that knows of other processes; accelerate carries it.

Book: *Scoring thirty thousand images*.
"""
