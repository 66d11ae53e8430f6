"""Where do transformer blocks belong? A controlled study at mini scale.

``arms`` are the UNets that are compared and the exact search that chose their widths, ``protocol``
is what was laid down before the first run, ``runs`` trains and measures one arm with one seed, and
``analysis`` compares what the runs left in ``records/``. Book: *Where do transformer blocks
belong?*
"""
