"""Makes hostile stores at random and lets commands loose on them, all in this process, under limits; run by path.

A store begins as a good one. Some of its records and nodes are then changed, with right digests around them. Whatever
`verify` calls whole must be whole: a clone takes it, and all ways to read it find the same.

Writes a line for each store of which something is wrong, and at the end how many there were of each kind.
"""

import json
import random
import resource
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[3]))

from bombs import MEMORY_BYTES, act, peak_mb

from kbstore import KBStoreError, Store
from kbstore.jsondoc.canonical import encode
from kbstore.sync.remote import clone_into
from tests.cases.security.forge import Forge, copied

MOST_MB = 500
Logs = dict[str, list[tuple[bytes, bytes]]]
COMMANDS = [
    ["log"], ["log", "--oneline", "--path", "/items/i3"], ["show"], ["show", "v2", "--stat"], ["diff", "v1", "HEAD"],
    ["checkout", "-o", "out.json"], ["checkout", "v2", "-o", "out.json", "--force"], ["get", "/items"], ["tag"],
    ["get", "/items/i4/text", "--at", "v3"], ["branch"], ["export", "-o", "out.jsonl"], ["gc"], ["salvage", "rescued"],
    ["--branch", "dev", "log"], ["tag", "new", "v2"], ["restore", "v2"], ["status"], ["config"],
]  # fmt: skip
ODD: list[Any] = [
    None, 0, -1, 1, 2**63, 2**70, 1.5, "", "x", "main", "refs", "../../out", "/", "~2", [], {}, [None], "0" * 64, "v1",
    "z" * 64, "2026-01-01T00:00:00.000000Z", "HEAD", "\x1b[2J", "\ud7ff", True, ["a", "b"], {"a": {}}, "x" * 3000, "-",
    "99",
]  # fmt: skip


def good(path: Path) -> tuple[Logs, list[bytes]]:
    """A store with something of everything."""
    items: dict[str, Any] = {f"i{n}": {"t": f"item {n}"} for n in range(9)}
    document: dict[str, Any] = {"items": items, "list": list(range(900)), "n": 1}
    with Store.create(path, document, author="ann") as kb:
        for n in range(2, 6):
            document["n"] = n
            document["items"][f"i{n}"]["text"] = f"word {n} " * (400 if n == 4 else 3)
            document["z"] = {"b": n, "a": n} if n == 3 else {"a": n, "b": n}
            kb.commit(document, message=f"change {n}", tags=["label"])
        kb.tag("stable", "v3")
        kb.create_branch("dev", "v3")
        kb.set("identity:/list", ["id"])
    with Store.open(path, branch="dev", author="bob") as kb:
        kb.commit(patch=[{"op": "add", "path": "/items/i3", "value": "y" * 2500}])
        kb.tag("late")
    return copied(path)


def change_json(data: bytes, rng: random.Random) -> bytes:
    """Change one thing in a JSON text: a value, a name, the form."""
    if rng.random() < 0.15:
        at = rng.randrange(len(data) + 1)
        return data[:at] + rng.choice([b" ", b",", b"\x00", b"\xff", b"}", b"1", b'"']) + data[at + rng.randrange(2) :]
    try:
        value = json.loads(data)
    except ValueError:
        return data[: rng.randrange(len(data) + 1)]
    holders: list[Any] = []

    def walk(one: Any) -> None:
        if isinstance(one, dict | list) and one:
            holders.append(one)
            for below in one.values() if isinstance(one, dict) else one:
                walk(below)

    walk(value)
    if not holders:
        return encode(rng.choice(ODD[:4]))
    holder = rng.choice(holders)
    key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    how = rng.randrange(4)
    if how == 0:
        del holder[key]
    elif how == 1:
        holder[key] = rng.choice(ODD)
    elif how == 2 and isinstance(holder, dict):
        holder[rng.choice(["meta", "tags", "order", "value_node", "from", "x", "log"])] = rng.choice(ODD)
    elif isinstance(holder, list):
        holder.extend(holder[: rng.randrange(1, 60)] * rng.randrange(1, 30))
    else:
        holder[key] = rng.choice([holder[other] for other in holder])
    return json.dumps(value, separators=(",", ":"), sort_keys=rng.random() < 0.8, ensure_ascii=False).encode(
        errors="surrogatepass"
    )


def change_record(logs: Logs, chunks: list[bytes], rng: random.Random) -> None:
    """Change a header, and make those that follow name it, or not."""
    log = rng.choice(list(logs))
    at = rng.randrange(len(logs[log]))
    header, body = logs[log][at]
    logs[log][at] = (change_json(header, rng), body)
    if rng.random() < 0.7:
        chain(logs, log)


def change_body(logs: Logs, chunks: list[bytes], rng: random.Random) -> None:
    """Change a patch; its header names it, and mostly a state that was there before."""
    log = rng.choice([name for name in logs if name != "refs"])
    at = rng.randrange(len(logs[log]))
    header, body = logs[log][at]
    made = change_json(body, rng)
    fields = json.loads(header)
    fields["patch"] = sha256(made).hexdigest()
    logs[log][at] = (encode(fields), made)
    chain(logs, log)


def change_node(logs: Logs, chunks: list[bytes], rng: random.Random) -> None:
    """Change a node, and let the references of other nodes and patches name what it became."""
    at = rng.randrange(len(chunks))
    old = chunks[at]
    kind, _, text = old.partition(b"\n")
    if rng.random() < 0.3:
        new = rng.choice([b"o", b"a", b"O1", b"A1", b"s", b"v", b"O9", b"A0"]) + b"\n" + text
    elif rng.random() < 0.5 and len(kind) > 2:
        new = kind[:1] + change_json(kind[1:], rng) + b"\n" + text
    else:
        new = kind + b"\n" + change_json(text, rng)
    chunks.append(new)
    before, after = sha256(old).hexdigest().encode(), sha256(new).hexdigest().encode()
    for n, chunk in enumerate(chunks[:-1]):
        if before in chunk:
            chunks[n] = chunk.replace(before, after)
    for log, records in logs.items():
        for n, (header, body) in enumerate(records):
            if before in body or before in header:
                made = body.replace(before, after)
                fields = json.loads(header.replace(before, after))
                fields["patch"] = sha256(made).hexdigest()
                records[n] = (encode(fields), made)
        if log != "refs":
            chain(logs, log)


def shuffle(logs: Logs, chunks: list[bytes], rng: random.Random) -> None:
    """Swap, double or drop records or nodes."""
    some: list[Any] = rng.choice([*logs.values(), chunks])
    at, other = rng.randrange(len(some)), rng.randrange(len(some))
    how = rng.randrange(3)
    if how == 0:
        some[at], some[other] = some[other], some[at]
    elif how == 1:
        some.insert(at, some[other])
    else:
        del some[at]


def chain(logs: Logs, log: str) -> None:
    """Let each record of a log name the one before it."""
    member = "parent" if log == "refs" else "parents"
    for at in range(1, len(logs[log])):
        header, body = logs[log][at]
        before = sha256(logs[log][at - 1][0]).hexdigest()
        try:
            fields = json.loads(header)
            fields[member] = before if log == "refs" else [before]
            logs[log][at] = (encode(fields), body)
        except (ValueError, TypeError):
            continue


CHANGES: list[Callable[[Logs, list[bytes], random.Random], None]] = [
    change_record, change_record, change_body, change_body, change_node, change_node, shuffle,
]  # fmt: skip


def made(path: Path, logs: Logs, chunks: list[bytes], rng: random.Random) -> None:
    """Write a store that is changed at random."""
    logs = {log: list(records) for log, records in logs.items()}
    chunks = list(chunks)
    for _ in range(rng.choice([1, 1, 2, 3])):
        try:
            rng.choice(CHANGES)(logs, chunks, rng)
        except (ValueError, TypeError, LookupError, AttributeError):
            continue  # a change before left nothing to change
    with Forge(path) as forge:
        for log, records in logs.items():
            for header, body in records:
                forge.record(log, header, body)
        if chunks:
            forge.pack(chunks)
        if rng.random() < 0.2:
            name = rng.choice(["touched/main", "order/main", "who/main", "x"])
            forge.note(name, rng.randrange(2), rng.choice([b"", b"{}", b"[]", b"\xff", b'{"upto":1}']))


def unsound(path: Path) -> str:
    """What is wrong with a store that is called whole; empty if nothing is."""
    with Store.open(path, read_only=True) as kb:
        try:
            clone_into(kb, str(path.with_name("whole.db")))
        except KBStoreError as fault:
            return f"a clone refuses it: {fault}"
        with Store.open(path.with_name("whole.db"), read_only=True) as other:
            for version in kb.log():
                document = kb.checkout(version)
                if encode(document) != encode(other.checkout(version.seq)):
                    return f"the clone has another {version.name}"
                for key in document if isinstance(document, dict) else ():
                    pointer = "/" + key.replace("~", "~0").replace("/", "~1")
                    if encode(kb.get(pointer, version)) != encode(document[key]):
                        return f"{pointer} of {version.name} has two contents"
    return ""


def look(folder: Path, seed: int, logs: Logs, chunks: list[bytes]) -> tuple[bool, list[str]]:
    """Make a store of this seed and use it; returns whether it is called whole, and what went wrong."""
    rng = random.Random(seed)
    inside = folder / "inside"
    shutil.rmtree(inside, ignore_errors=True)
    inside.mkdir()
    made(inside / "kb.db", logs, chunks, rng)
    wrong = []
    verified = act(["--store", "inside/kb.db", "verify"])
    ran = [("verify", verified)]
    for command in rng.sample(COMMANDS, 2):
        arguments = [word if not word.startswith(("out.", "rescued")) else f"inside/{word}" for word in command]
        ran.append((" ".join(command), act(["--store", "inside/kb.db", *arguments])))
    ran.append(("clone", act(["clone", "inside/kb.db", "inside/clone.db"])))
    for name, told in ran:
        if not told[:1].isdigit():
            wrong.append(f"{name}: {told}")
    if (peak := peak_mb()) > MOST_MB:
        wrong.append(f"it took {peak} MB")
    whole = verified.startswith("0 ")
    if whole and ran[1][0] not in ("tag new v2", "restore v2") and (what := unsound(inside / "kb.db")):
        wrong.append(f"it is called whole, and {what}")
    if {path.name for path in folder.iterdir()} - {"home", "inside"}:
        wrong.append(f"something was written outside: {sorted(path.name for path in folder.iterdir())}")
    return whole, wrong


def main() -> None:
    """Make stores of the seeds from the first to before the last, in the current folder."""
    first, last = map(int, sys.argv[1:3])
    folder = Path.cwd()
    logs, chunks = good(folder / "good.db")
    for rest in folder.glob("good.db*"):
        rest.unlink()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    counts: Counter[str] = Counter()
    for seed in range(first, last):
        whole, wrong = look(folder, seed, logs, chunks)
        counts["whole" if whole else "refused"] += 1
        for what in wrong:
            print("wrong", seed, what[:600].replace("\n", " "), flush=True)
    print("counts", json.dumps(counts))


if __name__ == "__main__":
    main()
