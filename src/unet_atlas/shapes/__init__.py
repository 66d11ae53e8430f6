"""The captioned picture world: 64 × 64 scenes of one to three objects whose truth is known exactly.

``world`` says what there is and draws lots, ``captions`` turns a request into words and back,
``render`` paints a scene, ``oracle`` reads a picture back.
"""
