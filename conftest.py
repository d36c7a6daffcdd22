"""Settings for every test: Keras, where it is the oracle, runs on JAX; memory is held down."""

import ctypes
import gc
import os

import pytest

# Read by Keras when it is first imported.
os.environ["KERAS_BACKEND"] = "jax"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

QUICK = "--xla_backend_optimization_level=0"
LARGE = 3 << 29  # bytes of a process, from which memory is given back


def pytest_addoption(parser):
    parser.addoption(
        "--quick-compile",
        action="store_true",
        help="Compile without the compiler's optimiser, which takes longer than most tests run. "
        "The Programs are the same; processes that tests start compile as users do.",
    )


def pytest_configure(config):
    gc.set_threshold(50_000, 20, 50)  # tracing makes many objects; few of them are garbage
    if config.getoption("--quick-compile"):
        import jax

        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XLA_FLAGS", f"{os.environ.get('XLA_FLAGS', '')} {QUICK}".strip())
            jax.devices()  # reads the flags, once for this process


def pytest_collection_finish():
    gc.freeze()  # what is imported stays: no collection needs to look at it


@pytest.fixture(autouse=True, scope="module")
def _memory_is_bounded():
    """What compilers leave would stay to the end of a process: gigabytes, most of them free but
    kept by the C library, the rest thousands of small executables."""
    yield
    if resident() > LARGE and give_back() and resident() > LARGE:
        import jax

        jax.clear_caches()
        give_back()


def give_back():
    """Free memory goes to the system, where the C library can do that; whether it did."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    return trim is not None and bool(trim(0))


def resident():
    """Bytes of memory of this process; 0 where the system does not say."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


@pytest.fixture(autouse=True)
def _fresh_names():
    """Automatic names start anew for each test, and so do unseeded draws."""
    from carnyx.core.config import clear_session
    from carnyx.random import set_random_seed

    clear_session()
    set_random_seed(0)
