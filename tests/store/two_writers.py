"""Two writers of one knowledge base: random documents and edits, and an oracle that knows elements by their ids.

The oracle merges values by id and knows nothing of positions, patches or trees, so it shares no fault with the store.
"""

import copy
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from kbstore import ConflictError, Store, apply_patch
from kbstore.jsondoc.canonical import encode

Document = Any
Patch = list[dict[str, Any]]

SIZES = [150, 400, *range(2045, 2052), *range(2045, 2052), 2100, 4090, 4100, 9000, 33_000]
"""Canonical sizes to aim at: around the 2,048 bytes of an inline value, and around one and several leaves."""
SHAPES = ["root array", "root object", "array", "object", "array in array", "small array"]
_SEVERITIES = ["low", "high", "critical", "none"]


class Clash(Exception):
    """Both writers changed one thing to something else: only a conflict is right."""


@dataclass
class Writer:
    """One writer's work: the document that it wants, and the same as operations, one patch a version."""

    name: str
    document: Document
    patches: list[Patch] = field(default_factory=list)
    fresh: int = 0
    moved: bool = False


@dataclass
class Case:
    """A document, the two writers' versions of it, and how the second one hands in its own."""

    base: Document
    pointer: str
    ann: Writer
    bob: Writer
    as_patch: bool
    guarded: bool


def make_case(seed: int) -> Case:
    """Draw a case; the same seed gives the same one."""
    rng = random.Random(seed)
    shape = rng.choice(SHAPES)
    base, pointer = _document(rng, shape)
    ann, bob = (Writer(name, copy.deepcopy(base)) for name in ("ann", "bob"))
    for writer in (ann, bob):
        for _ in range(rng.randint(1, 2)):
            writer.patches.append([])
            for _ in range(rng.randint(1, 3)):
                _edit(rng, writer, pointer)
    return Case(base, pointer, ann, bob, rng.random() < 0.5, rng.random() < 0.3)


def _article(rng: random.Random, key: str) -> dict[str, Any]:
    steps = [{"id": f"{key}s{n}", "text": f"step {n}"} for n in range(rng.randint(0, 3))]
    return {"id": key, "title": f"title of {key}", "severity": rng.choice(_SEVERITIES), "steps": steps}


def _document(rng: random.Random, shape: str) -> tuple[Document, str]:
    size = 300 if shape == "small array" else rng.choice(SIZES)
    articles: list[dict[str, Any]] = []
    while not articles or len(encode(articles)) < size - 200:
        articles.append(_article(rng, f"a{len(articles)}"))
    in_object = shape in ("root object", "object")
    held: Any = {article["id"]: article for article in articles} if in_object else articles
    document, pointer = {
        "root array": (held, ""),
        "root object": (held, ""),
        "array": ({"name": "kb", "articles": held}, "/articles"),
        "object": ({"name": "kb", "articles": held}, "/articles"),
        "array in array": ([{"id": "part", "articles": held}, {"id": "other", "articles": []}], "/0/articles"),
        "small array": ({"articles": held, "note": "x" * rng.choice([10, 3000])}, "/articles"),
    }[shape]
    if shape != "small array":
        rng.choice(articles)["title"] += "." * max(0, size - len(encode(document)))
    return document, pointer


def held_in(document: Document, pointer: str) -> Any:
    """Return the container of the articles."""
    for token in pointer.split("/")[1:]:
        document = document[int(token) if isinstance(document, list) else token]
    return document


def _edit(rng: random.Random, writer: Writer, pointer: str) -> None:
    """Make one random edit, on the document and as operations."""
    held = held_in(writer.document, pointer)
    keys = list(held) if isinstance(held, dict) else list(range(len(held)))
    kind = rng.choice(["insert", "remove", "move", "title", "severity", "steps", "steps", "title"])
    patch: Patch = []
    if kind == "insert" or not keys:
        # Now and then both writers choose one id.
        writer.fresh += 1
        key = "shared" if rng.random() < 0.05 else f"{writer.name}{writer.fresh}"
        if any(article["id"] == key for article in (held.values() if isinstance(held, dict) else held)):
            return
        at: Any = key if isinstance(held, dict) else rng.choice([0, len(held), rng.randint(0, len(held))])
        path = "-" if at == len(keys) and not isinstance(held, dict) and rng.random() < 0.5 else at
        patch = [{"op": "add", "path": f"{pointer}/{path}", "value": _article(rng, key)}]
    else:
        at = rng.choice(keys)
        path = f"{pointer}/{at}"
        if kind == "remove":
            patch = [{"op": "remove", "path": path}]
        elif kind == "move" and isinstance(held, list):
            patch = [{"op": "move", "from": path, "path": f"{pointer}/{rng.choice(keys)}"}]
            writer.moved = True
        elif kind in ("title", "severity"):
            value = rng.choice(_SEVERITIES) if kind == "severity" else f"{writer.name} {rng.randint(0, 99)}"
            patch = [{"op": "replace", "path": f"{path}/{kind}", "value": value}]
        else:
            patch = [_edit_of_steps(rng, writer, held[at]["steps"], f"{path}/steps", held[at]["id"])]
    writer.document = apply_patch(writer.document, patch)
    writer.patches[-1] += patch


def _edit_of_steps(rng: random.Random, writer: Writer, steps: list[Any], path: str, owner: str) -> dict[str, Any]:
    if not steps or rng.random() < 0.4:
        writer.fresh += 1
        step = {"id": f"{owner}{writer.name}{writer.fresh}", "text": "new"}
        return {"op": "add", "path": f"{path}/{rng.randint(0, len(steps))}", "value": step}
    at = rng.randrange(len(steps))
    if rng.random() < 0.4:
        return {"op": "remove", "path": f"{path}/{at}"}
    return {"op": "replace", "path": f"{path}/{at}/text", "value": f"{writer.name} {rng.randint(0, 99)}"}


def commit_both(case: Case) -> Document:
    """Let Ann commit her versions, then Bob his, all based on the first one; return the document of the newest."""
    with Store.create("memory:", case.base) as store:
        kb, other = Store(store.backend), Store(store.backend)
        kb.commit_many([{"patch": patch} for patch in case.ann.patches], base="v1")
        if case.as_patch:
            patches = [_guarded(case, patch) if case.guarded else patch for patch in case.bob.patches[:1]]
            changes = [{"patch": patch} for patch in [*patches, *case.bob.patches[1:]]]
            other.commit_many(changes, base="v1")
        else:
            other.commit(case.bob.document, base="v1")
        return store.checkout()


def _guarded(case: Case, patch: Patch) -> Patch:
    """Put a test of the first place that a patch touches in front of it, as careful programs do."""
    path = patch[0]["path"] if patch and patch[0]["op"] == "replace" else None
    if path is None:
        return patch
    value = case.base
    for token in path.split("/")[1:]:
        value = value[int(token) if isinstance(value, list) else token]
    return [{"op": "test", "path": path, "value": value}, *patch]


def merged(base: Any, ann: Any, bob: Any) -> Any:
    """Merge three values by id: lists of objects become objects by id, so nothing here knows an order.

    Raises:
        Clash: Both changed one place to something else.
    """
    base, ann, bob = _by_id(base), _by_id(ann), _by_id(bob)
    if ann == bob or bob == base:
        return ann
    if ann == base:
        return bob
    if isinstance(ann, dict) and isinstance(bob, dict) and isinstance(base, dict):
        found = {}
        for key in {**base, **ann, **bob}:
            value = merged(base.get(key), ann.get(key), bob.get(key))
            if value is not None:
                found[key] = value
        return found
    raise Clash


def _by_id(value: Any) -> Any:
    """A value with each list of objects as an object by id; None stands for what is not there."""
    if isinstance(value, list):
        assert len({element["id"] for element in value}) == len(value), "an id stands twice"
        return {element["id"]: _by_id(element) for element in value}
    if isinstance(value, dict):
        return {key: _by_id(member) for key, member in value.items()}
    return value


def wanted(case: Case) -> Any:
    """Return what both writers' work comes to, by id: Bob's versions come after Ann's, one by one.

    So a version of his that says the same as Ann's leaves nothing to do, and the next one starts from there.

    Raises:
        Clash: One of his versions changes what Ann changed to something else.
    """
    now, before = case.ann.document, case.base
    if not case.as_patch:
        return merged(before, now, case.bob.document)
    for patch in case.bob.patches:
        after = apply_patch(before, patch)
        now, before = merged(before, now, after), after
    return _by_id(now)


def problems(case: Case, found: Document) -> Iterator[str]:
    """Say what is wrong with the document that the store made of both writers' work."""
    try:
        right = wanted(case)
    except Clash:
        yield "both writers changed one thing, and one of them was lost"
        return
    if _by_id(found) != right:
        yield f"an edit is lost, or landed at another element: {_by_id(found)} is not {right}"
        return
    sides = [held_in(side, case.pointer) for side in (case.base, case.ann.document, case.bob.document, found)]
    if all(isinstance(side, list) for side in sides):
        _, ann, bob, now = ([article["id"] for article in side] for side in sides)
        for writer, side, other in ((case.ann, ann, case.bob), (case.bob, bob, case.ann)):
            if not other.moved and _common(now, side) != _common(side, now):
                yield f"the order that {writer.name} gave is lost: {now} is not {side}"
        if case.ann.moved and case.bob.moved:
            order = wanted_order(case, sides[-1])
            if order is None or _common(now, order) != order:
                yield f"the order of both is lost: {now} is not {order}"


def wanted_order(case: Case, *others: list[Any]) -> list[str] | None:
    """Return the order of the articles that all have: of any two, the order that was given last, else the old one.

    As in `wanted`, Bob's versions come after Ann's, so one of his may take back what his first one and hers both did.
    None if these orders contradict each other.
    """
    steps = [case.base]
    if case.as_patch:
        for patch in case.bob.patches:
            steps.append(apply_patch(steps[-1], patch))
    else:
        steps.append(case.bob.document)
    his = [_places(held_in(step, case.pointer)) for step in steps]
    hers = _places(held_in(case.ann.document, case.pointer))
    common = [one for one in his[0] if all(one in places for places in [hers, *his, *map(_places, others)])]
    before = dict.fromkeys(common, 0)
    for at, one in enumerate(common):
        for other in common[at + 1 :]:
            first = hers[one] < hers[other]
            for old, new in itertools.pairwise(places[one] < places[other] for places in his):
                first = new if new != old else first
            before[other if first else one] += 1
    order = sorted(common, key=lambda one: before[one])
    return order if [before[one] for one in order] == [*range(len(order))] else None


def _places(articles: list[Any]) -> dict[str, int]:
    return {article["id"]: at for at, article in enumerate(articles)}


def _common(ids: list[str], others: list[str]) -> list[str]:
    return [one for one in ids if one in set(others)]


def clashes(case: Case) -> bool:
    """Whether only a conflict is right."""
    try:
        wanted(case)
    except Clash:
        return True
    sides = [held_in(side, case.pointer) for side in (case.base, case.ann.document, case.bob.document)]
    both_moved = case.ann.moved and case.bob.moved and all(isinstance(side, list) for side in sides)
    return both_moved and wanted_order(case) is None


def outcome(seed: int) -> str:
    """Run a case: ``merged``, ``conflict`` (the right answer) or ``avoidable`` (a conflict where none was needed).

    Raises:
        AssertionError: The store lost or misplaced something without a word.
    """
    case = make_case(seed)
    try:
        found = commit_both(case)
    except ConflictError:
        return "conflict" if clashes(case) else "avoidable"
    assert not (wrong := list(problems(case, found))), (seed, wrong)
    return "merged"
