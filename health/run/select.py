"""The choice of checks for a round: the requested checks and all their needs, in the order of the registry."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter

from kbstore.health.check_registry import TAGS, Spec
from kbstore.health.errors import RegistryError, UnknownCheck


def select(specs: Mapping[str, Spec], names: Sequence[str] = (), tag: str | None = None) -> list[Spec]:
    """Return the checks to run, in the order of `specs`.

    Args:
        specs: All checks.
        names: Checks to run with their needs; by default all.
        tag: Run only checks with this tag, and their needs.

    Raises:
        UnknownCheck: A name or the tag is unknown; the message suggests the nearest name.
        RegistryError: A need is not a check, needs form a circle, or a live check needs a check that is not live.
    """
    check_needs(specs)
    if tag is not None and tag not in TAGS:
        raise UnknownCheck(f"there is no tag {tag!r}", hint=f"known are {', '.join(TAGS)}")
    for name in names:
        if name not in specs:
            near = get_close_matches(name, specs, n=1)
            raise UnknownCheck(
                f"there is no check {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""), hint="health list"
            )
    wanted = set(names) or set(specs)
    if tag is not None:
        wanted = {name for name in wanted if tag in specs[name].tags}
    chosen: set[str] = set()
    waiting = list(wanted)
    while waiting:
        name = waiting.pop()
        if name not in chosen:
            chosen.add(name)
            waiting.extend(specs[name].needs)
    return [spec for name, spec in specs.items() if name in chosen]


def check_needs(specs: Mapping[str, Spec]) -> None:
    """Check that needs can be met.

    Raises:
        RegistryError: A need is not a check, needs form a circle, or a live check needs a check that is not live.
    """
    for spec in specs.values():
        for need in spec.needs:
            if need not in specs:
                raise RegistryError(f"{spec.name} needs {need!r}, which is no check")
            if "live" in spec.tags and "live" not in specs[need].tags:
                raise RegistryError(f"{spec.name} is live and so cannot need {need}, which is not")
    try:
        tuple(TopologicalSorter({spec.name: spec.needs for spec in specs.values()}).static_order())
    except CycleError as fault:
        raise RegistryError(f"checks need each other in a circle: {' -> '.join(fault.args[1])}") from None


def longest_chain_s(specs: Iterable[Spec]) -> float:
    """Return the longest time (seconds) that checks can take in a row, each after its needs."""
    by_name = {spec.name: spec for spec in specs}
    order = TopologicalSorter({n: [d for d in s.needs if d in by_name] for n, s in by_name.items()}).static_order()
    ends: dict[str, float] = {}
    for name in order:
        spec = by_name[name]
        ends[name] = spec.timeout + max((ends[n] for n in spec.needs if n in ends), default=0.0)
    return max(ends.values(), default=0.0)
