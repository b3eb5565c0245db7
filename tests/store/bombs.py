"""Hostile patches, each committed by a child of its own under limits of time and memory; run by path.

Tells for each how it ended: ``refused`` with the error's kind and the length of its message, ``right``, ``wrong``, or
what stopped it. The child's processor time is counted by the system, so a busy machine changes nothing.
"""

import json
import os
import resource
import sys
from collections.abc import Callable
from typing import Any

from kbstore import InvalidJSON, PatchError, PointerError, Store

STOP_S = 6  # two seconds where the machine is free; a busy one counts more for the same work
STOP_BYTES = 1 << 30  # of addresses, which are not memory yet: that is counted


def articles() -> dict[str, Any]:
    """A knowledge base of 2 MB, with a long array and a value to move to and fro."""
    return {
        "problems": {f"p{n}": {"title": f"Problem {n}", "text": f"{n} word " * 20} for n in range(6000)},
        "list": list(range(100_000)),
        "big": {"x": [f"text {n} " * 10 for n in range(8000)]},
        "a": {"b": {"c": {}}},
        "text": "x" * 1_000_000,
    }


def op(kind: str, path: str, **more: Any) -> dict[str, Any]:
    """One operation; ``from_`` stands for ``from``."""
    return {"op": kind, "path": path, **{k.rstrip("_"): v for k, v in more.items()}}


def nested(depth: int) -> Any:
    """A value inside so many lists."""
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def cyclic() -> Any:
    """A list that holds itself."""
    value: list[Any] = []
    value.append(value)
    return value


def small() -> dict[str, Any]:
    """Next to nothing, which doubles often before it is much."""
    return {"o": {"x": {}}, "l": [None] * 100, "s": ["word"] * 10, "t": "x" * 10, "n": [[["lol"] * 10] * 10]}


def doubling(source: str, path: str) -> list[dict[str, Any]]:
    """Copies of what was copied before."""
    return [op("copy", path.format(n), from_=source) for n in range(60)]


SMALL_BOMBS: dict[str, Callable[[], Any]] = {
    "doubling an object": lambda: doubling("/o", "/o/x{}"),
    "doubling a root": lambda: doubling("", "/x{}"),
    "doubling an array of nulls": lambda: doubling("/l", "/l/-"),
    "doubling an array of strings": lambda: doubling("/s", "/s/0"),
    "doubling lists of lists": lambda: doubling("/n", "/n/5"),
    "doubling and moving": lambda: [each for copy in doubling("/o", "/o/x{}") for each in (
        copy, op("move", "/n/0/0", from_="/o"), op("move", "/o", from_="/n/0/0"))],
}  # fmt: skip
"""These are committed on a `small` document."""

WIDE = [{"x": "y" * 50}] * 500
BOMBS: dict[str, Callable[[], Any]] = {
    "copy bomb of objects": lambda: [op("copy", "/x", from_="/problems"), op("copy", "/y", from_="/x")] * 200,
    "copy bomb into itself": lambda: [op("copy", f"/problems/c{n}", from_="/problems") for n in range(60)],
    "copy bomb of a root": lambda: [op("copy", "/problems/x", from_=""), op("copy", "/a/b/y", from_="")] * 60,
    "copy bomb of arrays": lambda: [op("copy", "/list/-", from_="/list")] * 60,
    "copies of a long text": lambda: [op("copy", f"/t{n}", from_="/text") for n in range(100_000)],
    "copies from small to large": lambda: [op("copy", "/a/b/c/x", from_="/a")] * 190,
    "copies of little": lambda: [op("copy", f"/a/k{n}", from_="/problems/p1") for n in range(100_000)],
    "a member name of 10 MB": lambda: [op("add", "/" + "n" * 10_000_000, value=1)],
    "a pointer of 5 million tokens": lambda: [op("add", "/a" * 5_000_000, value=1)],
    "a source of 5 million tokens": lambda: [op("copy", "/z", from_="/a" * 5_000_000)],
    "an index of 10 million digits": lambda: [op("add", "/list/" + "9" * 10_000_000, value=1)],
    "10 MB of escapes": lambda: [op("remove", "/" + "~1" * 5_000_000)],
    "10 MB of bad escapes": lambda: [op("remove", "/" + "~2" * 5_000_000)],
    "a million operations": lambda: [op("test", "/a", value=1)] * 1_000_000,
    "a million operations as text": lambda: b"[" + b",".join([b'{"op":"remove","path":"/q"}'] * 1_000_000) + b"]",
    "a million brackets": lambda: b"[" * 1_000_000,
    "a million braces": lambda: b'{"a":' * 1_000_000,
    "100,000 insertions at the front": lambda: [op("add", "/list/0", value=1)] * 100_000,
    "100,000 removals at the front": lambda: [op("remove", "/list/0")] * 99_999,
    "insertions and removals": lambda: [op("add", "/list/0", value=1), op("remove", "/list/1")] * 50_000,
    "moves within a long array": lambda: [op("move", "/list/0", from_="/list/99999")] * 100_000,
    "moves to and fro": lambda: [op("move", "/a/b/c/x", from_="/big"), op("move", "/big", from_="/a/b/c/x")] * 50_000,
    "moves of the articles": lambda: [op("move", "/a/b/x", from_="/problems"), op("move", "/problems", from_="/a/b/x")]
    * 50_000,
    "moves that deepen": lambda: [op("move", "/a/b/c/x", from_="/big"), *[op("move", "/a/b/c/y", from_="/a/b/c/x"),
                                  op("move", "/a/b/c/x", from_="/a/b/c/y")] * 49_000],
    "tests of the whole": lambda: [op("test", "/problems", value={})] * 100_000,
    "tests of one long text": lambda: [op("test", "/text", value="x" * 1_000_000)] * 20,
    "changes and tests by turns": lambda: [op("add", "/problems/n", value=1), op("test", "/problems/p1/title",
                                           value="Problem 1")] * 50_000,
    "changes and copies by turns": lambda: [op("add", "/problems/p1/n", value=1), op("copy", "/a/z",
                                            from_="/problems/p2")] * 50_000,
    "replacing the whole": lambda: [op("replace", "", value={"a": {}, "list": [1] * 50})] * 100_000,
    "replacing all and inside": lambda: [op("replace", "/problems", value={}), op("add", "/problems/x", value=1)]
    * 50_000,
    "nesting of 100,000": lambda: [op("add", "/x", value=nested(100_000))],
    "nesting as text": lambda: b'[{"op":"add","path":"/x","value":' + b"[" * 500_000 + b"]" * 500_000 + b"}]",
    "nesting by patches": lambda: [op("add", "/a/b/c" + "/x" * n, value={}) for n in range(1, 300)],
    "nesting by moves": lambda: [op("add", "/w", value={}), op("move", "/w/i", from_="/a"),
                                 op("move", "/a", from_="/w")] * 250,
    "a value that holds itself": lambda: [op("add", "/x", value=cyclic())],
    "a wide value many times": lambda: [op("add", f"/w{n}", value=WIDE) for n in range(300)],
    "a number of a million digits": lambda: [op("add", "/x", value=10**1_000_000)],
    "a number of a million digits as text": lambda: b'[{"op":"add","path":"/x","value":' + b"9" * 1_000_000 + b"}]",
    "a huge exponent": lambda: b'[{"op":"add","path":"/x","value":1e999999999}]',
    "a tiny exponent": lambda: b'[{"op":"add","path":"/x","value":0.' + b"0" * 1_000_000 + b"1}]",
    "not a number": lambda: [op("add", "/x", value=float("nan"))],
    "members twice": lambda: b'[{"op":"add","op":"remove","path":"/a"}]',
    "ten thousand unknown members": lambda: [{**op("add", "/x", value=1), **{f"u{n}": n for n in range(10_000)}}],
    "an operation of a megabyte": lambda: [op("a" * 1_000_000, "/x")],
    "an index for a member": lambda: [op("add", "/problems/-", value=1)] * 100_000,
    "a flat array closed again and again": lambda: [op("add", "/list/0", value=1)] * 70
    + [op("add", "/list/0", value=1), op("copy", "/a/z", from_="/list")] * 45_000,
    "as many tokens as may be": lambda: [op("remove", "/a" * 20)] * 99_000,
    "an endless generator": lambda: (op("test", "/a", value=1) for _ in iter(int, 1)),
}  # fmt: skip


def commit(name: str) -> str:
    """Commit one of them to a store of its own; how it ended, after how many seconds, with how many MB more."""
    with Store.create("memory:", small() if name in SMALL_BOMBS else articles()) as kb:
        head, now = kb.head(), kb.checkout()
        patch = (SMALL_BOMBS.get(name) or BOMBS[name])()
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + STOP_BYTES, used + STOP_BYTES))
        begin, before = _cpu_s(), _peak_mb()
        resource.setrlimit(resource.RLIMIT_CPU, (int(begin) + STOP_S, int(begin) + STOP_S))
        try:
            version = kb.commit(patch=patch)
        except (PatchError, InvalidJSON, PointerError) as fault:
            took = _cpu_s() - begin
            if kb.head() != head or kb.get("") != now:
                return "wrong: refused, and something changed"
            return (
                f"refused {took:.2f} {_peak_mb() - before} {len(str(fault))} {type(fault).__name__} {str(fault)[:90]}"
            )
        return f"right {_cpu_s() - begin:.2f} {_peak_mb() - before} 0 v{version.seq}"


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def all_of_them(names: list[str]) -> dict[str, str]:
    """Each in a process of its own."""
    told = {}
    for name in names:
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            said = "wrong: no memory was left"
            try:
                said = commit(name)
            except BaseException as error:  # noqa: BLE001 - also where memory ends
                said = f"wrong {type(error).__name__}: {error}"[:300]
            finally:
                os.write(theirs, said.encode())
                os._exit(0)
        os.close(theirs)
        with os.fdopen(ours) as heard:
            said = heard.read()
        _, status = os.waitpid(child, 0)
        told[name] = said or f"wrong: ended by signal {os.WTERMSIG(status)}"
    return told


if __name__ == "__main__":
    print(json.dumps(all_of_them(sys.argv[1:] or [*BOMBS, *SMALL_BOMBS])))
