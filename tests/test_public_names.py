"""Each public name of the three packages can be imported, and the public classes survive a pickle and a copy."""

import copy
import importlib
import inspect
import pickle
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kbstore import Store

PACKAGES = ("kbstore", "kbstore.health", "kbstore.migrator")

ERRORS = [
    error
    for package in PACKAGES
    for error in vars(importlib.import_module(f"{package}.errors")).values()
    if isinstance(error, type) and issubclass(error, Exception)
]


def sample(error: type[Exception]) -> Exception:
    """Make an error with a value for each argument that it needs."""
    given: dict[str, Any] = {}
    plain = []
    for name, parameter in inspect.signature(error).parameters.items():
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            plain.append(7 if parameter.annotation in (int, "int") else "text")
        elif parameter.default is parameter.empty or name == "hint":
            given[name] = 7 if parameter.annotation in (int, "int") else "text"
    return error(*plain, **given)


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_objects_and_no_modules(package: str) -> None:
    """A submodule with the name of a public object would take its place once it is imported."""
    module = importlib.import_module(package)
    assert not set(module.__all__) & {found.name for found in pkgutil.iter_modules(module.__path__)}
    taken: dict[str, Any] = {}
    exec(f"from {package} import *", taken)
    assert set(module.__all__) <= set(taken)
    assert not [name for name in module.__all__ if inspect.ismodule(taken[name])]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__qualname__)
@pytest.mark.parametrize("carry", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_errors_can_be_carried_to_another_process(
    error: type[Exception], carry: Callable[[Exception], Exception]
) -> None:
    """The copy has the class, the message, the hint and the attributes."""
    made = sample(error)
    carried = carry(made)
    assert type(carried) is error
    assert (str(carried), carried.args, vars(carried)) == (str(made), made.args, vars(made))


def test_a_version_can_be_carried_to_another_process(tmp_path: Path) -> None:
    """The copy is equal, and a revision for any handle of the same store, also if the first handle is closed."""
    with Store.create(tmp_path / "kb.db") as store:
        store.commit({"a": 1}, message="one")
        made = store.commit({"a": 2}, message="two", author="Ada")
        versions = [*store.log(), store.version("v0")]
        patch = versions[0].patch
    with Store.open(tmp_path / "kb.db") as other:
        newest, first, beginning, carried = pickle.loads(pickle.dumps([*versions, made]))
        assert (newest, carried.as_dict(), hash(carried)) == (made, made.as_dict(), hash(made))
        assert (newest.patch, beginning.patch) == (patch, [])
        with pytest.raises(LookupError, match=r"store\.version\(version\)\.patch"):
            _ = carried.patch
        assert other.version(carried).patch == patch
        assert other.checkout(first) == {"a": 1}
        assert other.diff(first, carried).patch == patch
        assert other.diff(beginning, first).patch == [{"op": "add", "path": "", "value": {"a": 1}}]


def test_copies_of_a_version_are_the_version() -> None:
    """A version is immutable, so copies inside other values need no store either."""
    made = Store.create("memory:").commit({"a": 1})
    assert copy.copy(made) is made
    assert copy.deepcopy({"version": made})["version"] is made
