"""Models as estimators of scikit-learn: in pipelines, grid searches, cross-validation.

scikit-learn is imported with this module, and with it alone.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from carnyx.train.model import Trainer


class _Estimator(BaseEstimator):
    """What the three have in common.

    Args:
        model: a compiled model, of which each `fit` trains a copy that starts with its weights; or
            a function (X, y, **model_kwargs) that returns a compiled model for such data.
        warm_start: whether a further `fit` goes on with the model of the last one.
        model_kwargs: for the function.
        fit_kwargs: for `Model.fit`; those given to `fit` itself come first.

    Attributes:
        model_: the trained model.
        history_: name -> values by the epoch, as in `History.history`.
    """

    def __init__(
        self,
        model: Any,
        warm_start: bool = False,
        model_kwargs: dict[str, Any] | None = None,
        fit_kwargs: dict[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.warm_start = warm_start
        self.model_kwargs = model_kwargs
        self.fit_kwargs = fit_kwargs

    def __sklearn_clone__(self) -> Any:
        """Another estimator that is not fitted; a model given whole is shared: `fit` copies it."""
        return type(self)(
            self.model, self.warm_start, copy.copy(self.model_kwargs), copy.copy(self.fit_kwargs)
        )

    def fit(self, X: Any, y: Any, **kwargs: Any) -> Any:
        """Trains; `kwargs` are arguments of `Model.fit`, such as epochs. Returns the estimator."""
        X, y = self._validated(X, y)
        y = self._encode(y)
        if not (self.warm_start and hasattr(self, "model_")):
            self.model_ = self._new_model(X, y)
        options = {"verbose": 0, **(self.fit_kwargs or {}), **kwargs}
        self.history_ = self.model_.fit(X, y, **options).history
        return self

    def _validated(self, X: Any, y: Any) -> Any:
        X, y = validate_data(self, X, y, multi_output=True, y_numeric=True)
        return X, _flat(y)

    def _new_model(self, X: Any, y: Any) -> Any:
        if isinstance(self.model, Trainer):
            if not self.model.compiled:
                raise RuntimeError(
                    f"{type(self).__name__}: model '{self.model.name}' is not compiled, so it "
                    "cannot be trained. Call its compile() first."
                )
            return copy.deepcopy(self.model)
        if not callable(self.model):
            raise TypeError(
                f"{type(self).__name__}: model is a compiled model, or a function (X, y) that "
                f"returns one. Received: {self.model!r}"
            )
        return self.model(X, y, **(self.model_kwargs or {}))

    def _encode(self, y: Any) -> Any:
        """Targets as the model takes them: in columns."""
        self._columns = np.ndim(y)
        return y[:, None] if np.ndim(y) == 1 else y

    def _outputs(self, X: Any) -> np.ndarray:
        check_is_fitted(self, "model_")
        X = validate_data(self, X, reset=False)
        return np.asarray(self.model_.predict(X, verbose=0))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.non_deterministic = True  # weights start anew, and rows change places
        return tags


class SKLearnClassifier(ClassifierMixin, _Estimator):
    """A classifier: the model's outputs are scores of the classes, one column each.

    The targets reach the model as one-hot rows in the order of `classes_`; several labels of a
    sample, an array of 0 and 1, as they are.

    >>> import carnyx
    >>> from sklearn.datasets import load_iris
    >>> def network(X, y):
    ...     net = carnyx.Sequential([carnyx.Input(X.shape[1:])])
    ...     net.add(carnyx.layers.Dense(y.shape[1], activation="softmax"))
    ...     net.compile("adam", "categorical_crossentropy")
    ...     return net
    >>> estimator = SKLearnClassifier(network).fit(*load_iris(return_X_y=True), epochs=2)
    >>> estimator.predict(load_iris().data[:3]).shape
    (3,)
    """

    def _validated(self, X: Any, y: Any) -> Any:
        X, y = validate_data(self, X, y, multi_output=True)
        check_classification_targets(y)
        return X, _flat(y)

    def _encode(self, y: Any) -> Any:
        if type_of_target(y, raise_unknown=True).startswith("multilabel"):
            self.classes_, self._many = np.arange(y.shape[1]), True
            return y.astype("float32")
        self.classes_, self._many = np.unique(y), False
        if len(self.classes_) < 2:
            raise ValueError(
                "SKLearnClassifier: can't train with one class: all targets are "
                f"{self.classes_[0]!r}."
            )
        return (np.asarray(y)[:, None] == self.classes_).astype("float32")

    def predict_proba(self, X: Any) -> np.ndarray:
        """The model's outputs, a column a class: probabilities if it ends in a softmax."""
        return self._outputs(X)

    def decision_function(self, X: Any) -> np.ndarray:
        """The scores of the classes; for two classes how far the second is ahead."""
        scores = self.predict_proba(X)
        two = not self._many and len(self.classes_) == 2
        return scores[:, 1] - scores[:, 0] if two else scores

    def predict(self, X: Any) -> np.ndarray:
        """The class with the greatest score; of several labels, those above a half."""
        scores = self.predict_proba(X)
        if self._many:
            return (scores > 0.5).astype(int)
        return self.classes_[scores.argmax(-1)]


def _flat(y: Any) -> Any:
    """Targets in one column are one number a sample, which scikit-learn warns of."""
    return column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y


class SKLearnRegressor(RegressorMixin, _Estimator):
    """A regressor: the model's outputs are the predictions, [B] or [B, outputs].

    >>> import carnyx
    >>> def network(X, y):
    ...     net = carnyx.Sequential([carnyx.Input(X.shape[1:]), carnyx.layers.Dense(1)])
    ...     net.compile("adam", "mse")
    ...     return net
    >>> X = np.ones((4, 2))
    >>> SKLearnRegressor(network).fit(X, X[:, 0]).predict(X).shape
    (4,)
    """

    def predict(self, X: Any) -> np.ndarray:
        """The predictions for the rows of X."""
        out = self._outputs(X)
        return out[:, 0] if self._columns == 1 and out.ndim == 2 and out.shape[1] == 1 else out


class SKLearnTransformer(TransformerMixin, _Estimator):
    """A transformer: the model's outputs are features for the next step of a pipeline.

    >>> import carnyx
    >>> def encoder(X, y):
    ...     net = carnyx.Sequential([carnyx.Input(X.shape[1:]), carnyx.layers.Dense(X.shape[1])])
    ...     net.compile("adam", "mse")
    ...     return net
    >>> X = np.ones((4, 2))
    >>> SKLearnTransformer(encoder).fit(X, X).transform(X).shape
    (4, 2)
    """

    def fit(self, X: Any, y: Any = None, **kwargs: Any) -> Any:
        """Trains; without targets the model learns to give X itself."""
        return super().fit(X, X if y is None else y, **kwargs)

    def transform(self, X: Any) -> np.ndarray:
        """The model's outputs for the rows of X."""
        return self._outputs(X)

    predict = transform

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # the model's own compute type comes out
        return tags


__all__ = ["SKLearnClassifier", "SKLearnRegressor", "SKLearnTransformer"]
