"""A PyDataset that worker processes import."""

import os

import numpy as np

from carnyx.data.pydataset import PyDataset


class Numbers(PyDataset):
    """Batch i: x the process that made it, y = i."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return np.full((2, 1), os.getpid()), np.full(2, index)
