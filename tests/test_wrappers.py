"""Models as scikit-learn estimators: its own checks, pipelines, searches."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

import carnyx
from carnyx import layers
from carnyx.wrappers import SKLearnClassifier, SKLearnRegressor, SKLearnTransformer


def network(X, y, loss="mse", units=16):
    carnyx.utils.set_random_seed(0)
    last = "softmax" if loss == "categorical_crossentropy" else None
    net = carnyx.Sequential([carnyx.Input(X.shape[1:]), layers.Dense(units, activation="relu")])
    net.add(layers.Dense(y.shape[1], activation=last))
    net.compile(carnyx.optimizers.Adam(0.05), loss)
    return net


def estimator(cls, epochs=100):
    loss = "categorical_crossentropy" if cls is SKLearnClassifier else "mse"
    return cls(network, model_kwargs={"loss": loss}, fit_kwargs={"epochs": epochs})


def name(check):
    return getattr(check, "func", check).__name__


@pytest.mark.slow
@pytest.mark.parametrize(
    ("estimator", "check"),
    [
        # names of their own: scikit-learn's hold an address, which no two workers share
        pytest.param(made, check, id=f"{cls.__name__}-{name(check)}")
        for cls in (SKLearnClassifier, SKLearnRegressor, SKLearnTransformer)
        for made, check in estimator_checks_generator(estimator(cls))
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_check_estimator(estimator, check):
    check(estimator)


def test_a_pipeline_a_search_and_cross_validation():
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    pipeline = make_pipeline(StandardScaler(), estimator(SKLearnClassifier, epochs=20))
    assert cross_val_score(pipeline, X, names, cv=3).mean() > 0.9
    search = GridSearchCV(
        pipeline,
        {"sklearnclassifier__model_kwargs": [{"loss": "categorical_crossentropy", "units": 4}]},
        cv=2,
    ).fit(X, names)
    best = search.best_estimator_[-1]
    assert best.model_.layers[0].units == 4 and set(best.classes_) == set(names)
    probabilities = best.predict_proba(StandardScaler().fit_transform(X))
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)


def test_a_regressor_learns():
    X, y = load_diabetes(return_X_y=True)
    scaled = (y - y.mean()) / y.std()
    found = estimator(SKLearnRegressor, epochs=30).fit(StandardScaler().fit_transform(X), scaled)
    assert found.score(StandardScaler().fit_transform(X), scaled) > 0.4
    assert len(found.history_["loss"]) == 30


def test_a_transformer_feeds_the_next_step():
    X, y = load_iris(return_X_y=True)
    encoder = estimator(SKLearnTransformer, epochs=20)
    pipeline = make_pipeline(StandardScaler(), encoder, LogisticRegression()).fit(X, y)
    assert pipeline[1].transform(X).shape == (150, 1)  # trained on the classes' numbers
    assert pipeline.score(X, y) > 0.8
    assert estimator(SKLearnTransformer, epochs=1).fit_transform(X).shape == X.shape


def test_a_model_given_whole_is_copied_and_the_copy_trained():
    X, y = load_iris(return_X_y=True)
    net = network(X, np.zeros((1, 3)), "categorical_crossentropy")
    before = net.get_weights()
    made = SKLearnClassifier(net, fit_kwargs={"epochs": 1})
    made.fit(X, y)
    for old, new, kept in zip(before, made.model_.get_weights(), net.get_weights(), strict=True):
        assert np.array_equal(old, kept) and not np.array_equal(old, new)
    assert clone(made).model is net and not hasattr(clone(made), "model_")
    twin = pickle.loads(pickle.dumps(made))
    np.testing.assert_allclose(twin.predict_proba(X), made.predict_proba(X), rtol=1e-6)


def test_warm_start_goes_on():
    X, y = load_iris(return_X_y=True)
    made = estimator(SKLearnClassifier, epochs=2)
    made.warm_start = True
    first = made.fit(X, y).model_
    assert made.fit(X, y).model_ is first
    made.warm_start = False
    assert made.fit(X, y).model_ is not first


def test_two_classes_and_several_labels():
    X, y = load_iris(return_X_y=True)
    two = estimator(SKLearnClassifier, epochs=20).fit(X[:100], y[:100] + 5)
    decision = two.decision_function(X[:100])
    assert decision.shape == (100,)
    np.testing.assert_array_equal(two.predict(X[:100]), np.where(decision > 0, 6, 5))
    labels = np.stack([y == 0, y != 2], 1).astype(int)
    many = SKLearnClassifier(network, model_kwargs={"loss": "mse"}, fit_kwargs={"epochs": 40})
    found = many.fit(X, labels).predict(X)
    assert found.shape == labels.shape and (found == labels).mean() > 0.8


def test_mistakes():
    X, y = load_iris(return_X_y=True)
    with pytest.raises(RuntimeError, match=r"is not compiled.*Call its compile\(\) first"):
        SKLearnClassifier(carnyx.Sequential([carnyx.Input((4,)), layers.Dense(3)])).fit(X, y)
    with pytest.raises(TypeError, match="model is a compiled model, or a function"):
        SKLearnClassifier("network").fit(X, y)
    with pytest.raises(ValueError, match="can't train with one class"):
        estimator(SKLearnClassifier).fit(X, np.zeros(150, int))
