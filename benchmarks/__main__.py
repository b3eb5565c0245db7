"""``python -m benchmarks [GROUP ...]``: measures the store, and prints each row as soon as it is known."""

import argparse
import sys
import time
from importlib import import_module

from benchmarks import row, scale, stores, timing

GROUPS = (
    "commit",
    "batch",
    "document",
    "checkout",
    "diff",
    "get",
    "log",
    "size",
    "memory",
    "loading",
    "flat",
    "proof",
)
"""The modules with rows, in the order of the table."""

_LONG_HISTORIES = frozenset({"checkout", "commit", "flat", "get", "log"})
"""Those that need stores with many versions, which take minutes to build."""

_SCALES = {"full": scale.FULL, "quick": scale.QUICK, "tiny": scale.TINY}


def main() -> int:
    """Run the groups that were named, or all."""
    parser = _parser()
    options = parser.parse_args()
    if unknown := set(options.groups).difference(GROUPS):
        parser.error(f"there is no group {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    if options.cpu:
        timing.use_cpu_clock()
    if options.reuse:
        stores.reuse_older()
    chosen = scale.QUICK if options.quick else _SCALES[options.scale]
    groups = [group for group in GROUPS if group in options.groups or not options.groups]
    start = time.perf_counter()
    if not _LONG_HISTORIES.isdisjoint(groups):
        stores.prepare([(chosen.small, chosen.many), (chosen.large, chosen.many)])
    print(row.heading(markdown=options.markdown), flush=True)
    verdicts = []
    for group in groups:
        for found in import_module(f"benchmarks.{group}").rows(chosen):
            print(row.line(found.cells(), markdown=options.markdown), flush=True)
            verdicts.append(found.ok)
    met, missed = verdicts.count(True), verdicts.count(False)
    minutes, seconds = divmod(round(time.perf_counter() - start), 60)
    clock = "CPU" if options.cpu else "wall"
    print(f"\n{met} of {met + missed} limits met, {missed} missed; {clock} times; took {minutes} min {seconds} s")
    return 1 if options.check and missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the store against its limits.")
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"any of {', '.join(GROUPS)}; all by default")
    parser.add_argument("--cpu", action="store_true", help="count CPU time instead of wall time")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a limit is missed")
    parser.add_argument(
        "--reuse", action="store_true", help="take stores that older code built, rather than build anew"
    )
    parser.add_argument("--quick", action="store_true", help="the same as --scale quick")
    parser.add_argument("--scale", choices=_SCALES, default="full", help="the limits are meant for full (default)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
