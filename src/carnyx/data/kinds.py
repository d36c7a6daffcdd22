"""The kinds of data that users bring, known by the module and the name of the object's type.

One row a kind; a new library is a new row. None of the libraries is imported here: an object of one
is there only if the user has imported it. The functions that read them are in `tables.py` (whole
arrays), `rows.py` (rows read by index) and `loaders.py` (batches one at a time).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from carnyx.data import rows, tables

Key = tuple[str, str]  # the type's module, or its first part, and its name

# value, what -> a NumPy array: all in memory
ARRAYS: dict[Key, Callable[[Any, str], Any]] = {
    ("torch", "Tensor"): tables.from_torch,
    ("tensorflow.python.framework.tensor", "Tensor"): tables.from_tensorflow,
    ("tensorflow", "Variable"): tables.from_tensorflow,
    ("tensorflow", "RaggedTensor"): tables.from_ragged,
    ("tensorflow", "SparseTensor"): tables.from_ragged,
    ("pandas", "DataFrame"): tables.from_table,
    ("pandas", "Series"): tables.from_column,
    ("pandas", "Index"): tables.from_column,
    ("polars", "DataFrame"): tables.from_table,
    ("polars", "Series"): tables.from_column,
    ("polars", "LazyFrame"): tables.from_lazy_frame,
    ("pyarrow", "Table"): tables.from_table,
    ("pyarrow", "RecordBatch"): tables.from_table,
    ("pyarrow", "ChunkedArray"): tables.from_column,
    ("pyarrow", "Array"): tables.from_column,
    ("datasets.dataset_dict", "DatasetDict"): tables.from_splits,
    ("datasets.dataset_dict", "IterableDatasetDict"): tables.from_splits,
}
# value, what -> Rows, or a structure of them
ROWS: dict[Key, Callable[[Any, str], Any]] = {
    ("numpy", "memmap"): rows.from_memmap,
    ("h5py", "Dataset"): rows.from_hdf5,
    ("datasets.arrow_dataset", "Dataset"): rows.from_huggingface,
    ("datasets.arrow_dataset", "Column"): rows.from_huggingface_column,
}
# The function of `loaders.py` that makes a Feed of it
FEEDS: dict[Key, str] = {
    ("carnyx.data.pydataset", "PyDataset"): "of_pydataset",
    ("carnyx.data.dataset", "Dataset"): "of_dataset",
    ("keras", "PyDataset"): "of_pydataset",
    ("torch", "DataLoader"): "of_torch",
    ("tensorflow", "DatasetV2"): "of_tensorflow",
    ("grain", "MapDataset"): "of_grain",
    ("grain", "IterDataset"): "of_grain",
    ("grain", "DataLoader"): "of_grain",
    ("datasets.iterable_dataset", "IterableDataset"): "of_huggingface",
}


def find(table: Mapping[Key, Any], value: Any) -> Any:
    """The table's entry for the value's type or the nearest of its bases, or None.

    >>> import numpy as np
    >>> find(ARRAYS, np.ones(2)) is None
    True
    """
    for cls in type(value).__mro__[:-1]:
        module, name = cls.__module__, cls.__name__
        found = table.get((module, name)) or table.get((module.partition(".")[0], name))
        if found is not None:
            return found
    return None


def is_array(value: Any) -> bool:
    """Whether the value is an array or a table of one of the known libraries."""
    return find(ARRAYS, value) is not None or find(ROWS, value) is not None
