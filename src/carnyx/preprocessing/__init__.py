"""The older names of what makes data sets and prepares pictures and sequences (`carnyx.utils`)."""

from carnyx.data.folders import (
    audio_dataset_from_directory,
    image_dataset_from_directory,
    text_dataset_from_directory,
)
from carnyx.data.sequences import timeseries_dataset_from_array
from carnyx.preprocessing import image, sequence

__all__ = [
    "audio_dataset_from_directory",
    "image",
    "image_dataset_from_directory",
    "sequence",
    "text_dataset_from_directory",
    "timeseries_dataset_from_array",
]
