"""Pictures of models: what the description says, and what Graphviz makes of it."""

import re
import shutil

import pytest

import carnyx
from carnyx import layers
from carnyx.utils import model_to_dot, plot_model


def two_branches():
    body = carnyx.Sequential([carnyx.Input((6,)), layers.Dense(4, name="inner")], name="body")
    a, b = carnyx.Input((6,), name="a"), carnyx.Input((6,), name="b")
    shared = layers.Dense(4, activation="tanh", name="shared")
    joined = layers.Add(name="join")([shared(a), shared(b)])
    return carnyx.Model([a, b], [joined, body(a)], name="net")


def arrows(dot):
    """(from, to) of every arrow, by the names of the layers."""
    found = re.findall(r'^\s*"?([^"\n]+?)"? -> "?([^"\n]+?)"?$', dot.source, re.MULTILINE)
    return {tuple(place.rpartition("/")[2] for place in pair) for pair in found}


def test_every_call_is_a_box_and_every_tensor_an_arrow():
    assert arrows(model_to_dot(two_branches())) == {
        ("a", "shared"),
        ("b", "shared#2"),
        ("shared", "join"),
        ("shared#2", "join"),
        ("a", "body"),
    }


def test_models_inside_can_be_drawn_open():
    dot = model_to_dot(two_branches(), expand_nested=True)
    assert "cluster_net/body" in dot.source
    assert any(pair[1] == "inner" for pair in arrows(dot))


def test_boxes_say_what_is_asked_for():
    net = two_branches()
    net.get_layer("shared").trainable = False
    everything = dict.fromkeys(
        "show_shapes show_dtype show_layer_activations show_trainable".split(), True
    )
    plain, full = model_to_dot(net).source, model_to_dot(net, **everything).source
    for text in ("in: (?, 6)", "out: (?, 4)", "float32", "activation: tanh", "frozen"):
        assert text in full and text not in plain
    assert "shared" in plain and "<B>shared" not in model_to_dot(net, show_layer_names=False).source


def test_files_have_the_form_of_their_ending(tmp_path):
    net = two_branches()
    assert plot_model(net, tmp_path / "net.dot").source == (tmp_path / "net.dot").read_text()
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    for form, start in starts.items():
        path = tmp_path / f"net.{form}"
        if shutil.which("dot") is None:  # Graphviz's program is no Python package
            with pytest.raises(ImportError, match="install Graphviz"):
                plot_model(net, path)
        else:
            plot_model(net, path, show_shapes=True)
            assert path.read_bytes().startswith(start)


def test_mistakes():
    with pytest.raises(ValueError, match="is not built, so there is nothing to draw"):
        plot_model(carnyx.Sequential([layers.Dense(2)]))
    with pytest.raises(ValueError, match=r"ends in .png, .svg, .pdf or .dot"):
        plot_model(two_branches(), "net.jpeg2000")
    with pytest.raises(ValueError, match="rankdir is 'TB'"):
        plot_model(two_branches(), rankdir="down")
