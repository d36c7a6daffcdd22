"""Pictures as Pillow images and arrays: the older names of `carnyx.utils`."""

from carnyx.data.images import array_to_img, img_to_array, load_img, save_img, smart_resize

__all__ = ["array_to_img", "img_to_array", "load_img", "save_img", "smart_resize"]
