"""The patch between two trees, and the tree after a patch."""

from collections.abc import Sequence

from kbstore.history.rebase import operations_of
from kbstore.jsondoc.identity import Identities
from kbstore.jsondoc.patch import Operation
from kbstore.tree.diff import compare
from kbstore.tree.editor import Draft
from kbstore.tree.node import VALUE, Blob, Ref
from kbstore.tree.node_store import Nodes


def operations_between(root: Ref | None, wanted: Ref, nodes: Nodes, identities: Identities) -> list[Operation]:
    """Return the patch between two trees, values in stored form; `root` is None if there is no document yet."""
    if root is None:
        value = wanted.node.data if isinstance(wanted.node, Blob) and wanted.kind == VALUE else wanted
        return [Operation("add", (), None, value)]
    return operations_of(compare(root, wanted, nodes), identities)


def applied(root: Ref | None, operations: Sequence[Operation], nodes: Nodes) -> Ref:
    """Return the tree after a patch."""
    draft = Draft(root, nodes)
    draft.apply(operations)
    return draft.seal()
