"""Mixed precision: the global dtype policy and the optimizer that scales losses for float16."""

from carnyx.core.dtypes import DTypePolicy
from carnyx.core.dtypes import DTypePolicy as Policy
from carnyx.core.dtypes import global_policy as dtype_policy
from carnyx.core.dtypes import global_policy as global_policy
from carnyx.core.dtypes import set_global_policy as set_dtype_policy
from carnyx.core.dtypes import set_global_policy as set_global_policy
from carnyx.optimizers import LossScaleOptimizer

__all__ = [
    "DTypePolicy",
    "LossScaleOptimizer",
    "Policy",
    "dtype_policy",
    "global_policy",
    "set_dtype_policy",
    "set_global_policy",
]
