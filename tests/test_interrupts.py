"""Ctrl-C before a command line has even been read."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

_PRESSED = """
import os, signal, sys
class Pressing:
    def find_spec(self, name, *_):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Pressing())
sys.argv = ["program", "--help"]
from {package}.cli import main
main()
"""


@pytest.mark.parametrize("package", ["kbstore", "kbstore.migrator", "kbstore.health"])
@pytest.mark.parametrize("module", ["click", "{package}.cli.exit_codes", "{package}.cli.main"])
def test_an_interrupt_while_modules_are_loaded(package: str, module: str) -> None:
    """The program ends with 130, without a word."""
    code = _PRESSED.format(module=module.format(package=package), package=package)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")
