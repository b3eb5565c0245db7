"""Mutations beside those of cosmic-ray: of guards, of the order of calls, and of durable calls."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

import parso
from cosmic_ray.operators.operator import Example, Operator

DURABLE = ("sync", "flush", "commit", "COMMIT", "checkpoint", "discard", "rewrite_log", "publish")
"""What the name of a call holds whose result is there after a power cut, or that says what is not."""
Position = tuple[tuple[int, int], tuple[int, int]]


def is_call(statement: Any) -> bool:
    """Whether a line only calls something, so that what is called is all that it is for."""
    if statement.type != "simple_stmt":
        return False
    found = statement.children[0]
    last = found.children[-1] if found.type == "atom_expr" else None
    return last is not None and last.type == "trailer" and last.children[0].value == "("


def is_durable(statement: Any) -> bool:
    """Whether a line is such a call, and its name is one of a durable call."""
    return is_call(statement) and any(word in statement.get_code().partition("(")[0] for word in DURABLE)


class _Statements(Operator):  # type: ignore[misc] # cosmic-ray has no types
    """Mutates one statement of a block."""

    @abstractmethod
    def places(self, block: Any) -> Iterator[int]:
        """The children of a block that are mutated."""

    def mutation_positions(self, node: Any) -> Iterable[Position]:
        """See `Operator.mutation_positions`."""
        if node.type == "suite":
            for at in self.places(node):
                yield node.children[at].start_pos, node.children[at].end_pos

    @classmethod
    def examples(cls) -> Iterable[Example]:
        """None."""
        return ()


class RemoveCall(_Statements):
    """Leaves a call out."""

    def places(self, block: Any) -> Iterator[int]:
        """Each call that is a statement and is not durable."""
        return (at for at, one in enumerate(block.children) if is_call(one) and not is_durable(one))

    def mutate(self, node: Any, index: int) -> Any:
        """See `Operator.mutate`."""
        call = list(self.places(node))[index]
        node.children[call] = _parsed("pass\n", node.children[call].get_first_leaf().prefix)
        return node


class RemoveDurableCall(RemoveCall):
    """Leaves out a call that makes something durable."""

    def places(self, block: Any) -> Iterator[int]:
        """Each call of a name that says so."""
        return (at for at, one in enumerate(block.children) if is_durable(one))


class RemoveGuard(_Statements):
    """Never refuses what a guard refuses."""

    def places(self, block: Any) -> Iterator[int]:
        """Each ``if`` without ``else`` that ends in ``raise``."""
        return (at for at, one in enumerate(block.children) if _is_guard(one))

    def mutate(self, node: Any, index: int) -> Any:
        """See `Operator.mutate`."""
        guard = node.children[list(self.places(node))[index]]
        guard.children[1] = _parsed("False", " ")
        return node


class SwapCalls(_Statements):
    """Makes the second of two calls first."""

    def places(self, block: Any) -> Iterator[int]:
        """Each call that another one comes behind."""
        pairs = zip(block.children, block.children[1:], strict=False)
        return (at for at, (one, other) in enumerate(pairs) if is_call(one) and is_call(other))

    def mutate(self, node: Any, index: int) -> Any:
        """See `Operator.mutate`."""
        at = list(self.places(node))[index]
        first, second = node.children[at].get_first_leaf(), node.children[at + 1].get_first_leaf()
        first.prefix, second.prefix = second.prefix, first.prefix  # comments and indentation stay where they are
        node.children[at], node.children[at + 1] = node.children[at + 1], node.children[at]
        return node


def _parsed(code: str, prefix: str) -> Any:
    node = parso.parse(code).children[0]
    node.get_first_leaf().prefix = prefix
    return node


def _is_guard(statement: Any) -> bool:
    if statement.type != "if_stmt" or len(statement.children) != 4:
        return False
    body = statement.children[3]
    last = body.children[-1] if body.type == "suite" else body
    return last.type == "simple_stmt" and last.children[0].get_first_leaf().value == "raise"


OPERATORS: dict[str, type[Operator]] = {
    "guard": RemoveGuard, "order": SwapCalls, "durable": RemoveDurableCall, "call": RemoveCall
}  # fmt: skip
"""By the kind of promise."""
