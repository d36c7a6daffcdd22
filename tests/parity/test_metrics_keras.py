"""Metrics against Keras on JAX, over weighted batches and one without weights."""

import jax
import keras
import numpy as np
import pytest

from carnyx import metrics
from tests.cases.losses import data
from tests.cases.metrics import CASES, Case

# More of AUC than has a short formula of its own.
CURVES = [
    Case("AUC", "binary", None, {"curve": curve, "summation_method": method, **more})
    for curve in ("ROC", "PR", "PRGAIN")
    for method in ("interpolation", "minoring", "majoring")
    for more in ({"num_thresholds": 20}, {"thresholds": [0.1, 0.5, 0.6]})
]
LABELS = [Case("AUC", "binary", None, {"multi_label": True, "num_thresholds": 20})]
# 40,001 thresholds are for the exact oracle; here they only take time.
SMALL = [case for case in CASES if case.kwargs.get("num_thresholds", 0) < 1000]
ALL = [*SMALL, *CURVES, *LABELS]


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype int64")  # Keras's IoU under JAX
@pytest.mark.parametrize("case", ALL, ids=lambda c: c.id)
def test_metric(case: Case):
    y, f = data(case.data, batch=10, seed=6)
    w = np.random.default_rng(2).uniform(0, 2, 10).astype("float32")
    ours, theirs = (getattr(module, case.cls)(**case.kwargs) for module in (metrics, keras.metrics))
    for metric in (ours, theirs):
        for rows in (slice(0, 5), slice(5, 10)):
            y_pred = jax.numpy.asarray(f[rows])
            metric.update_state(y[rows], y_pred, sample_weight=w[rows])
        metric.update_state(y[:5], jax.numpy.asarray(f[:5]))
    np.testing.assert_allclose(ours.result(), theirs.result(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case", ALL, ids=lambda c: c.id)
def test_configs_go_both_ways(case: Case):
    ours = getattr(metrics, case.cls)(name="mine", **case.kwargs)
    theirs = getattr(keras.metrics, case.cls)(name="mine", **case.kwargs)
    config = ours.get_config()
    assert type(metrics.deserialize(keras.metrics.serialize(theirs))) is type(ours)
    assert keras.metrics.deserialize(metrics.serialize(ours)).name == "mine"
    given = {k: v for k, v in theirs.get_config().items() if k != "thresholds"}
    assert {k: config[k] for k in given} == given


FIRST = {case.cls: case.kwargs for case in reversed(CASES)}


@pytest.mark.parametrize("cls", sorted(FIRST))
def test_default_names(cls):
    ours, theirs = (getattr(m, cls)(**FIRST[cls]).name for m in (metrics, keras.metrics))
    assert ours.rstrip("_0123456789") == theirs.rstrip("_0123456789")
