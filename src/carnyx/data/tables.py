"""Tables (pandas, polars, Arrow) and tensors (PyTorch, TensorFlow) as NumPy arrays.

A column of numbers is [B, 1], one of equally long lists [B, n]; a table is its columns side by
side. The libraries are not imported: the objects bring their own methods.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def from_table(table: Any, what: str) -> np.ndarray:
    """A pandas, polars or Arrow table [B, all its columns' numbers]."""
    names = list(table.column_names if _is_arrow(table) else table.columns)
    if not len(names):
        raise ValueError(f"{what} is a table without columns.")
    if len(set(names)) < len(names):
        raise ValueError(f"{what} has two columns of one name: {list(names)}. Rename them.")
    columns = [from_column(table[name], f"{what}[{name!r}]") for name in names]
    deep = [name for name, column in zip(names, columns, strict=True) if column.ndim > 2]
    if deep and len(names) > 1:
        raise ValueError(
            f"{what}: column {deep[0]!r} holds arrays and does not fit beside the others. Pass a "
            "dict of columns, {name: table[name], ...}, for a model with several inputs."
        )
    return np.concatenate(columns, axis=1) if len(names) > 1 else columns[0]


def from_column(column: Any, what: str) -> np.ndarray:
    """A column of a table: [B, 1], or [B, ...] if it holds lists of one shape."""
    found = column.to_numpy() if not _is_arrow(column) else _arrow(column)
    if found.dtype == object:
        found = _of_objects(found, column, what)
    if found.dtype.kind not in "biufc":
        raise TypeError(_no_numbers(column, what))
    return found[:, None] if found.ndim == 1 else found


def _is_arrow(column: Any) -> bool:
    return type(column).__module__.partition(".")[0] == "pyarrow"


def _arrow(column: Any) -> np.ndarray:
    if hasattr(column, "chunks"):
        return column.to_numpy()
    return column.to_numpy(zero_copy_only=False)


def _of_objects(found: np.ndarray, column: Any, what: str) -> np.ndarray:
    """Lists become rows; numbers with gaps become floats, the gaps NaN."""
    full = [v for v in found if v is not None and not (np.isscalar(v) and v != v)]
    if full and hasattr(full[0], "__len__") and not isinstance(full[0], (str, bytes, dict)):
        try:
            return np.stack([np.asarray(row) for row in found])
        except ValueError:
            raise ValueError(
                f"{what} has rows of different lengths. Pad them to one: "
                "carnyx.utils.pad_sequences(column)."
            ) from None
    try:
        numbers = not any(isinstance(v, (str, bytes)) for v in full)
        gaps = [np.nan if type(v).__name__ in ("NoneType", "NAType") else v for v in found]
        return np.array(gaps, "float64") if numbers else found
    except (TypeError, ValueError):
        return found


def _no_numbers(column: Any, what: str) -> str:
    kind = getattr(column, "dtype", None) or getattr(column, "type", "object")
    remedy = "Make numbers of it, or leave the column out."
    if str(kind).lower().startswith(("categor", "enum")):
        remedy = "Pass its codes: column.cat.codes (pandas), column.to_physical() (polars)."
    return f"{what} has the type {kind}, where numbers or booleans are expected. {remedy}"


def from_lazy_frame(frame: Any, what: str) -> np.ndarray:
    raise TypeError(f"{what} is a LazyFrame, which has no rows yet. Pass its .collect().")


def from_splits(value: Any, what: str) -> np.ndarray:
    raise TypeError(
        f"{what} is a {type(value).__name__} with the splits {list(value)}. Pass one of them, "
        f"such as data[{next(iter(value), 'train')!r}]."
    )


def from_torch(tensor: Any, what: str) -> np.ndarray:
    """A tensor of any device; bfloat16 stays bfloat16, which NumPy knows through ml_dtypes."""
    tensor = tensor.detach().cpu()
    if tensor.is_sparse:
        raise TypeError(f"{what} is a sparse tensor. Pass its .to_dense().")
    if str(tensor.dtype) == "torch.bfloat16":
        import ml_dtypes

        return np.asarray(tensor.float().numpy()).astype(ml_dtypes.bfloat16)
    return tensor.numpy()


def from_tensorflow(tensor: Any, what: str) -> np.ndarray:
    if not hasattr(tensor, "numpy"):
        raise TypeError(f"{what} is a symbolic TensorFlow tensor, which has no values.")
    return np.asarray(tensor.numpy())


def from_ragged(tensor: Any, what: str) -> np.ndarray:
    raise TypeError(
        f"{what} is a {type(tensor).__name__}. Make it dense: .to_tensor() of a ragged one, "
        "tf.sparse.to_dense of a sparse one."
    )
