"""`import keras` as Carnyx, and the command line that arranges it. Each test is a new process."""

import subprocess
import sys
import textwrap

import pytest

NO_TENSORFLOW = """
import types
from carnyx import keras_alias
keras_alias.PathFinder = types.SimpleNamespace(find_spec=lambda name: None)
keras_alias.install()
"""


def python(*args, cwd=None, stdin=None):
    return subprocess.run(
        [sys.executable, *args], cwd=cwd, input=stdin, capture_output=True, text=True, timeout=120
    )


def program(code):
    """Standard output of a program that must succeed."""
    done = python("-c", textwrap.dedent(code))
    assert done.returncode == 0, done.stderr
    return done.stdout


def carnyx(*args, **kwargs):
    return python("-m", "carnyx", *args, **kwargs)


# ---- the alias ---------------------------------------------------------------------------------


def test_keras_names_are_the_same_module_objects():
    program("""
        from carnyx import keras_alias
        keras_alias.install(); keras_alias.install()
        import sys
        import keras, keras.ops, keras.layers as aliased
        from keras.layers import Dense
        from keras import layers, models
        import carnyx, carnyx.layers, carnyx.models, carnyx.ops
        assert keras is carnyx and keras.ops is carnyx.ops and models is carnyx.models
        assert aliased is layers is carnyx.layers and Dense is carnyx.layers.Dense
        assert sys.modules["keras.layers"] is sys.modules["carnyx.layers"]
        assert carnyx.layers.__name__ == carnyx.layers.__spec__.name == "carnyx.layers"
        assert sum(type(f).__name__ == "_Finder" for f in sys.meta_path) == 1
    """)


def test_tensorflow_keras_where_there_is_no_tensorflow():
    out = program(NO_TENSORFLOW + textwrap.dedent("""
        import tensorflow as tf
        from tensorflow import keras
        import tensorflow.keras.utils
        from tensorflow.keras import utils
        import carnyx
        assert keras is tf.keras is carnyx and utils is carnyx.utils is tf.keras.utils
        try: tf.constant
        except AttributeError as error: print(error)
        try: import tensorflow.data
        except ModuleNotFoundError as error: print(error)
    """))  # fmt: skip
    first, second = out.splitlines()
    assert first.startswith("tensorflow.constant is not available: TensorFlow is not installed")
    assert second.startswith("No module named 'tensorflow.data': TensorFlow is not installed")


def test_an_installed_tensorflow_is_left_alone(tmp_path):
    (tmp_path / "tensorflow.py").write_text("real = True\n")
    program(f"""
        import sys; sys.path.insert(0, {str(tmp_path)!r})
        from carnyx import keras_alias
        keras_alias.install()
        import tensorflow
        assert tensorflow.real
    """)


def test_a_missing_module_names_carnyx_and_the_nearest():
    out = program("""
        from carnyx import keras_alias
        keras_alias.install()
        for name in ("keras.modelz", "keras.zzzz"):
            try: __import__(name)
            except ModuleNotFoundError as error: print(error, error.name)
    """)
    near, far = out.splitlines()
    assert near == (
        "No module named 'keras.modelz': `keras` means Carnyx here, and there is no "
        "carnyx.modelz. Did you mean 'models'? keras.modelz"
    )
    assert "carnyx has: " in far and "models" in far


def test_install_after_the_real_keras_says_what_to_do(tmp_path):
    (tmp_path / "keras.py").write_text("")
    out = program(f"""
        import sys; sys.path.insert(0, {str(tmp_path)!r})
        import keras
        from carnyx import keras_alias
        try: keras_alias.install()
        except ImportError as error: print(error)
    """)
    assert out.startswith("keras is already imported (from") and "python -m carnyx" in out


def test_uninstall_gives_the_name_back(tmp_path):
    (tmp_path / "keras.py").write_text("real = True\n")
    program(f"""
        import sys; sys.path.insert(0, {str(tmp_path)!r})
        from carnyx import keras_alias
        keras_alias.install()
        import keras, keras.utils
        keras_alias.uninstall(); keras_alias.uninstall()
        assert not [name for name in sys.modules if name.startswith(("keras", "tensorflow"))]
        import keras
        assert keras.real
        import carnyx.utils
    """)


# ---- the command line --------------------------------------------------------------------------

SHOW = """\
import sys
import keras
print(__name__, __file__ if "__file__" in globals() else None, sys.argv, keras.__name__)
print(sys.modules["__main__"].__dict__ is globals())
"""


def test_script_runs_as_main_with_its_arguments_and_folder(tmp_path):
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "script.py").write_text(SHOW + "import beside\n")
    (folder / "beside.py").write_text("print('beside')\n")
    done = carnyx("programs/script.py", "--epochs", "3", cwd=tmp_path)
    assert done.stderr == "" and done.returncode == 0
    assert done.stdout.splitlines() == [
        f"__main__ {folder / 'script.py'} ['programs/script.py', '--epochs', '3'] carnyx",
        "True",
        "beside",
    ]


def test_standard_input_and_module(tmp_path):
    done = carnyx("-", "x", cwd=tmp_path, stdin=SHOW)
    assert done.stdout.splitlines() == ["__main__ None ['-', 'x'] carnyx", "True"], done.stderr
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__main__.py").write_text(SHOW)
    done = carnyx("-m", "package", "x", cwd=tmp_path)
    path = tmp_path / "package" / "__main__.py"
    assert done.stdout.startswith(f"__main__ {path} ['{path}', 'x'] carnyx"), done.stderr


@pytest.mark.parametrize(
    "code",
    ["def f():\n    1 / 0\nf()\n", "x = (\n", "raise KeyboardInterrupt\n", "import nowhere\n"],
)
def test_a_traceback_is_the_one_python_prints(tmp_path, code):
    (tmp_path / "script.py").write_text(code)
    ours, plain = carnyx("script.py", cwd=tmp_path), python("script.py", cwd=tmp_path)
    expected = plain.stderr.replace(str(tmp_path / "script.py"), "script.py")
    assert ours.stderr.replace(str(tmp_path / "script.py"), "script.py") == expected
    assert ours.returncode == (130 if "Keyboard" in code else 1)


def test_exit_status_is_passed_on(tmp_path):
    (tmp_path / "script.py").write_text("raise SystemExit(7)\n")
    assert carnyx("script.py", cwd=tmp_path).returncode == 7


def test_help_and_version_are_quick():
    out = program("""
        import sys
        from carnyx.__main__ import main
        assert main(["--help"]) == main([]) == main(["--version"]) == 0
        assert not {"jax", "keras", "rich", "matplotlib"} & set(sys.modules)
    """)
    assert out.startswith("usage: carnyx script.py") and out.splitlines()[-1] == "carnyx 0.1.0"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--nonsense"], "carnyx: there is no option '--nonsense'"),
        (["-m"], "carnyx: -m needs the name of a module"),
        (["nowhere.py"], "carnyx: can't open 'nowhere.py': No such file or directory"),
        (["."], "carnyx: can't open '.': Is a directory"),
        (["demos"], "carnyx: can't open 'demos': No such file or directory. "
         "Did you mean the command 'demo'?"),
    ],
)  # fmt: skip
def test_mistakes_on_the_command_line(args, message, tmp_path):
    done = carnyx(*args, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.splitlines()[0] == message
