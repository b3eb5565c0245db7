"""``make mutants``: changes the code in one place at a time, and says which changes no test notices.

The places are a sample by seed over the modules that carry the promises. The mutations are those of cosmic-ray, and
those of `tools.operators`. Each meets the tests that ran its line when the suite was last run with coverage, the
shortest first; a line that none ran in the process of the tests (a child did, or nobody) meets those of its package's
folder. The packages are mutated in a copy, ``build/mutants/tree``. What is known of the same sources is kept there;
after a change of the tests ``rm -r build/mutants`` begins anew.
"""

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from collections.abc import Iterator
from difflib import unified_diff
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names
from coverage import CoverageData

from tools.operators import OPERATORS

PACKAGES = ("backends", "health", "kbstore", "migrator")
MODULES = (
    *(f"kbstore/{name}.py" for name in (
        "store", "commit/*", "history/event", "history/branch", "history/refs", "history/ref_merge", "verify/proof",
        "verify/verify", "sync/remote", "sync/jsonl", "worktree/json_file", "worktree/working_copy",
        "jsondoc/read_write_set", "jsondoc/patch", "jsondoc/pointer", "jsondoc/canonical", "tree/*")),
    "backends/sqlite/**/*.py", "backends/s3/**/*.py",
    *(f"migrator/{name}.py" for name in (
        "run/runner", "run/transaction", "run/journal", "operations", "repair", "sql/lexer")),
    *(f"health/{name}.py" for name in (
        "run/engine", "run/rounds", "watch/alerts", "watch/outbox", "watch/loop", "state")),
)  # fmt: skip
"""Where a mutant breaks a promise."""
FOLDERS = {
    "backends/s3": "tests/s3", "backends/sqlite": "tests/backends", "kbstore": "tests/store",
    "kbstore/jsondoc": "tests/jsondoc", "kbstore/tree": "tests/tree", "kbstore/worktree": "tests/worktree",
    "health": "tests/health", "migrator": "tests/migrator",
}  # fmt: skip
"""The tests of a line that none of them ran in its own process."""
ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "mutants"
TREE = WORK / "tree"
COVERAGE = WORK / "coverage"
TIMES = WORK / "times.xml"
RESULTS = WORK / "results.jsonl"
STAMP = WORK / "sources"
_ENDED_BY_TIMEOUT = re.compile(r"^\+* Timeout \+*$", re.MULTILINE)


class Mutant(NamedTuple):
    """One change of the code.

    Attributes:
        module: The file.
        line: The line that is changed.
        kind: Of promise: a name of `OPERATORS`, or ``value``.
        operator: Its name.
        occurrence: Which of the places of this operator in the file.
    """

    module: str
    line: int
    kind: str
    operator: str
    occurrence: int


def main() -> int:
    """Run from the command line; returns 0 whatever survives: a person judges the survivors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=300, help="how many mutants")
    parser.add_argument("--seed", type=int, default=1, help="another seed makes another sample")
    parser.add_argument("--kind", choices=[*OPERATORS, "value"], help="only mutants of this kind")
    parser.add_argument("--most", type=float, default=120, help="seconds that the tests of one mutant take unmutated")
    parser.add_argument("--jobs", default="2", help="processes of the run with coverage")
    parser.add_argument("tests", nargs="*", help="the tests that are run with coverage; all by default")
    chosen = parser.parse_args()
    begin_anew()
    copy_tree()
    if not TIMES.exists():
        cover(chosen.tests, chosen.jobs)
    known = Known.read()
    for mutant in sample(list(all_mutants(chosen.kind)), chosen.sample, chosen.seed):
        judge(mutant, known, chosen.most)
    report(chosen.seed)
    return 0


def begin_anew() -> None:
    """Remove what is known of other sources: lines have moved."""
    digest = sha256()
    for path in module_paths():
        digest.update(path.read_bytes())
    if not STAMP.exists() or STAMP.read_text() != digest.hexdigest():
        shutil.rmtree(WORK, ignore_errors=True)
        WORK.mkdir(parents=True)
        STAMP.write_text(digest.hexdigest())


def module_paths() -> list[Path]:
    """The files that are mutated, always in the same order."""
    return [path for pattern in MODULES for path in sorted(ROOT.glob(pattern))]


def copy_tree() -> None:
    """Make the copy that is mutated."""
    for name in PACKAGES:
        shutil.rmtree(TREE / name, ignore_errors=True)
        shutil.copytree(ROOT / name, TREE / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))


def environment() -> dict[str, str]:
    """The variables of a run of the tests on the copy."""
    return os.environ | {"PYTHONPATH": str(TREE), "KBSTORE_WHEEL": str(TREE), "PYTHONDONTWRITEBYTECODE": "1"}


def cover(tests: list[str], jobs: str) -> None:
    """Run the suite once, and note which tests run each line and how long each takes."""
    settings = WORK / "coveragerc"
    includes = "".join(f"\n    */{pattern}" for pattern in MODULES)
    settings.write_text(f"[run]\ndata_file = {COVERAGE}\ninclude ={includes}\n")
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-n", jobs, "--dist", "worksteal", f"--junit-xml={TIMES}"]
    command += ["--cov", "--cov-context=test", f"--cov-config={settings}", "--cov-report=", *tests]
    subprocess.run(command, cwd=ROOT, env=environment(), check=False)


class Known:
    """What the run with coverage told.

    Attributes:
        ran: The tests that ran each line, by file.
        seconds: How long each test takes.
    """

    def __init__(self, ran: dict[str, dict[int, list[str]]], seconds: dict[str, float]) -> None:
        self.ran = ran
        self.seconds = seconds

    @classmethod
    def read(cls) -> "Known":
        """Read what `cover` wrote."""
        data = CoverageData(str(COVERAGE))
        data.read()
        ran = {}
        for file in data.measured_files():
            lines = data.contexts_by_lineno(file)
            name = Path(file).relative_to(TREE).as_posix()
            ran[name] = {n: sorted({c.partition("|")[0] for c in tests if c}) for n, tests in lines.items()}
        seconds = {}
        for case in ET.parse(TIMES).iter("testcase"):
            module = case.attrib["classname"].replace(".", "/")
            seconds[f"{module}.py::{case.attrib['name']}"] = float(case.attrib["time"])
        return cls(ran, seconds)

    def tests(self, mutant: Mutant, most_s: float) -> list[str]:
        """The tests that a mutant meets, the shortest first, as many as take so long together."""
        found = self.ran.get(mutant.module, {}).get(mutant.line, [])
        if not found:
            folders = (FOLDERS.get(parent.as_posix()) for parent in Path(mutant.module).parents)
            return [next(filter(None, folders), "tests")]
        chosen, total = [], 0.0
        for test in sorted(found, key=lambda test: self.seconds.get(test, 0.0)):
            total += self.seconds.get(test, 0.0)
            if chosen and total > most_s:
                break
            chosen.append(test)
        return chosen


def all_mutants(wanted: str | None = None) -> Iterator[Mutant]:
    """Every mutant of every module, or those of one kind, always in the same order."""
    operators: list[tuple[str, str, Any]] = [(kind, kind, operator()) for kind, operator in OPERATORS.items()]
    operators += [("value", name, get_operator(name)()) for name in sorted(operator_names()) if _is_taken(name)]
    for path in module_paths():
        nodes = list(ast_nodes(get_ast(path.read_text())))
        for kind, name, operator in operators:
            if wanted not in (None, kind):
                continue
            places = [place for node in nodes for place in operator.mutation_positions(node)]
            for occurrence, (start, _) in enumerate(places):
                yield Mutant(path.relative_to(ROOT).as_posix(), start[0], kind, name, occurrence)


def _is_taken(name: str) -> bool:
    """Whether an operator of cosmic-ray makes mutants that may be told from the original; types are not run."""
    own = name.rpartition("/")[2]
    needs_arguments = any(argument.name for argument in get_operator(name).arguments())
    return not needs_arguments and not {"Is", "IsNot"}.intersection(own.split("_")) and "BitOr" not in own


def sample(mutants: list[Mutant], size: int, seed: int) -> list[Mutant]:
    """Choose places by seed, and one mutant at each: operators that have many forms count once."""
    by_place: dict[tuple[str, int, str], list[Mutant]] = defaultdict(list)
    for mutant in mutants:
        by_place[mutant.module, mutant.line, mutant.kind].append(mutant)
    dice = random.Random(seed)
    places = dice.sample(sorted(by_place), min(size, len(by_place)))
    return [dice.choice(by_place[place]) for place in places]


def judge(mutant: Mutant, known: Known, most_s: float) -> None:
    """Run the tests of a mutant and note what became of it; nothing is done twice."""
    if any(done["mutant"] == list(mutant) for done in results()):
        return
    path = TREE / mutant.module
    source = path.read_text()
    operator = (OPERATORS.get(mutant.operator) or get_operator(mutant.operator))()
    mutated = mutate_code(source, operator, mutant.occurrence)
    tests = known.tests(mutant, most_s)
    path.write_text(mutated)
    try:
        command = [sys.executable, "-P", "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:randomly", *tests]
        done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    finally:
        path.write_text(source)
    killed = done.returncode != 0 or _ENDED_BY_TIMEOUT.search(done.stderr + done.stdout) is not None
    by = next((line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))), "")
    changed = unified_diff(source.splitlines(), mutated.splitlines(), lineterm="", n=0)
    diff = [line for line in changed if not line.startswith(("---", "+++", "@@"))]
    line = {"mutant": list(mutant), "killed": killed, "tests": len(tests), "by": by, "diff": diff}
    with RESULTS.open("a") as file:
        file.write(json.dumps(line) + "\n")
    print("killed  " if killed else "survived", f"{mutant.module}:{mutant.line}", mutant.kind, by, flush=True)


def results() -> list[dict[str, Any]]:
    """What is known of the mutants that were run since the results were last removed."""
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []


def report(seed: int) -> None:
    """Print the score by package and by kind, and the survivors."""
    done = results()
    scores: dict[str, Counter[bool]] = defaultdict(Counter)
    for one in done:
        module, _, kind, *_ = one["mutant"]
        for name in (str(Path(module).parent), f"kind {kind}", "all"):
            scores[name][one["killed"]] += 1
    for one in done:
        if not one["killed"]:
            module, line, kind, operator, _ = one["mutant"]
            print(f"\n{module}:{line} survived {one['tests']} tests ({operator})")
            print("\n".join(one["diff"]))
    print(f"\nseed {seed}")
    for name, counts in sorted(scores.items()):
        total = counts[True] + counts[False]
        print(f"{name:20} {counts[True]:4} of {total:4} killed, {100 * counts[True] / total:.0f} %")


if __name__ == "__main__":
    sys.exit(main())
