"""Programs: what a model's step becomes when it is traced. Engines run them, others read them.

`trace.py` is where a Program is made and read, `canonical.py` rewrites it, `primitives.py` lists
what may be in it, `loop.py` makes one step into many.
"""
