"""Bounding boxes [..., N, 4]: formats, and what cutting an image does to them.

The layers that move pixels are in `layers/image_geometry.py`.
"""
