"""What all tests share: hypothesis profiles, the shared folder, a clock that obeys, and no silent skip.

Helpers of tests import as ``tests.<folder>.<module>`` (each folder of tests has an ``__init__.py``). The packages
themselves come from the built wheel in `make test`, else from the checkout.
"""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parent.parent
LONG = os.environ.get("KBSTORE_LONG") == "1"
_ROOM_BYTES = 2 << 30
KEPT = {"KBSTORE_SHARED", "KBSTORE_LONG", "KBSTORE_WHEEL"}

# After PYTHONPATH (the wheel) and before site-packages: `tests` is found here and nowhere else.
if str(ROOT) not in sys.path:
    places = [i for i, entry in enumerate(sys.path) if entry.endswith("site-packages")]
    sys.path.insert(places[0] if places else len(sys.path), str(ROOT))

# A shell gives what it starts in the background an ignored SIGINT, and every child inherits it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
settings.register_profile(
    "ci", max_examples=50, derandomize=True, deadline=None, database=None, suppress_health_check=_quiet
)
settings.register_profile(
    "long", max_examples=1_000, deadline=None, database=None, suppress_health_check=_quiet, print_blob=True
)
settings.load_profile("long" if LONG else "ci")
fuzzed = settings(max_examples=10_000 if LONG else 50)
"""For tests that read what a stranger may send: ten times as many examples in the long run."""

LETTERS = st.characters(exclude_categories=["Cs"])
"""What UTF-8 can write, as `st.text()` draws by itself, which takes seconds in each process to ask the codec for it."""


takes_long = pytest.mark.timeout(7200 if LONG else 300)
"""For tests that take half a minute on a free machine; they begin early, so that none is waited for at the end."""
takes_longest = pytest.mark.timeout(7201 if LONG else 301)
"""For the test that takes longest: it begins first, since those with the highest limit do."""


def shared_folder() -> Path | None:
    """The folder of real histories and conformance cases: KBSTORE_SHARED, else ../shared; None where absent."""
    for place in (os.environ.get("KBSTORE_SHARED"), ROOT.parent / "shared"):
        if place and (folder := Path(place)).is_dir():
            return folder
    return None


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared folder; skips with its reason where it is not there."""
    folder = shared_folder()
    if folder is None:
        pytest.skip("no ../shared and no KBSTORE_SHARED: the real histories are not here")
    return folder


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads this user's settings: every variable that the command line looks at is unset or its own."""
    home = tmp_path_factory.getbasetemp() / "home"
    home.mkdir(exist_ok=True)
    for name in [name for name in os.environ if name.startswith("KBSTORE_") and name not in KEPT]:
        monkeypatch.delenv(name)
    for name in ("NO_COLOR", "FORCE_COLOR", "PAGER", "GIT_DIR", "GIT_CONFIG_COUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)


def memory_folder() -> Path | None:
    """A folder in memory that has room for the files of a test run, and can hold programs; None if there is none."""
    folder = Path("/dev/shm")
    if not (sys.platform == "linux" and os.access(folder, os.W_OK)):
        return None
    found = os.statvfs(folder)
    roomy = found.f_bavail * found.f_frsize >= _ROOM_BYTES
    return folder if roomy and not found.f_flag & os.ST_NOEXEC else None


@pytest.fixture(autouse=True)
def _back_home() -> Iterator[None]:
    """No test leaves the next one in its folder, which is removed when it has passed."""
    yield
    os.chdir(ROOT)


def pytest_configure(config: pytest.Config) -> None:
    """Put files into memory, and refuse to test the checkout if the wheel was promised.

    Thousands of stores are made, each flushed several times: on a disk the run waits for that most of the time.
    `make test-long` and a TMPDIR that is set keep the disk. Workers inherit the choice.
    """
    if not LONG and "TMPDIR" not in os.environ and (folder := memory_folder()) is not None:
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)

    import kbstore

    wheel = os.environ.get("KBSTORE_WHEEL")
    if wheel and not Path(kbstore.__file__).resolve().is_relative_to(Path(wheel).resolve()):
        raise pytest.UsageError(f"the tests were to run on {wheel}, but kbstore came from {kbstore.__file__}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long tests to `make test-long`, and begin with those that take longest."""
    long_ones = [] if LONG else [item for item in items if item.get_closest_marker("long")]
    if long_ones:
        config.hook.pytest_deselected(items=long_ones)
        items[:] = [item for item in items if not item.get_closest_marker("long")]
    items.sort(key=lambda item: -_limit_s(item))


def _limit_s(item: pytest.Item) -> float:
    marker = item.get_closest_marker("timeout")
    return float(marker.args[0]) if marker is not None else 0.0


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A skipped test fails the run where everything that it could ask for is there."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(session.config, "workerinput") or shared_folder() is None:
        return
    if skipped := len(reporter.stats.get("skipped", [])):
        reporter.write_line(f"{skipped} tests were skipped although the shared folder is here", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
