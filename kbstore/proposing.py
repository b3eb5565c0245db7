"""From what callers give to what is committed: each change as a proposal, checked and in stored form."""

from collections.abc import Sequence

from kbstore.canonical import check
from kbstore.change import Change, check_text, default_author
from kbstore.clock import check_moment
from kbstore.errors import KBStoreError, PatchError
from kbstore.event import stored_patch
from kbstore.identity import Identities
from kbstore.patch import Operation
from kbstore.reader import root_of
from kbstore.rebase import operations_of
from kbstore.tree.compare import compare
from kbstore.tree.draft import Draft
from kbstore.tree.node import VALUE, Blob, Ref
from kbstore.tree.nodes import Nodes
from kbstore.writer import Proposal


def proposals_of(
    changes: Sequence[Change], root: Ref | None, nodes: Nodes, author: str, identities: Identities
) -> list[Proposal]:
    """What these changes are to be committed as.

    Args:
        changes: Documents, trees built of them, or patches; each stands on the one before it.
        root: The tree that the first one stands on; needed where one is a document.
        nodes: Where nodes come from.
        author: Who commits where a change does not say.
        identities: Members that identify the elements of arrays, as the store's settings name them.

    Raises:
        PatchError, InvalidJSON: A patch or document is none. Of several changes the error says which.
        KBStoreError: Author, message, labels or times cannot stand in a header.
    """
    proposals = []
    has_documents = any(change.has_document for change in changes)
    for at, change in enumerate(changes):
        try:
            if change.has_document == (change.patch is not None):
                raise PatchError("give a document or a patch, and not both")
            body = b""
            tree = None
            if change.patch is not None:
                operations, body = stored_patch(change.patch)
            else:
                tree = tree_of(change)
                operations = operations_between(root, tree, nodes, identities)
            if has_documents and operations:
                root = _applied(root, operations, nodes)
            proposals.append(_proposal(change, operations, body, tree, author))
        except KBStoreError as fault:
            _name(at, changes, fault)
            raise
    return proposals


def name_refused(proposals: Sequence[Proposal], root: Ref | None, nodes: Nodes, fault: PatchError) -> None:
    """Say in the error which of several patches does not apply; they are tried again from `root` to find it."""
    for at, proposal in enumerate(proposals if len(proposals) > 1 else ()):
        try:
            root = _applied(root, proposal.operations, nodes)
        except PatchError:
            _name(at, proposals, fault)
            return


def operations_between(root: Ref | None, wanted: Ref, nodes: Nodes, identities: Identities) -> list[Operation]:
    """The patch from one tree to another, values in stored form; `root` is None where there is no document yet."""
    if root is None:
        value = wanted.node.data if isinstance(wanted.node, Blob) and wanted.kind == VALUE else wanted
        return [Operation("add", (), None, value)]
    return operations_of(compare(root, wanted, nodes), identities)


def tree_of(change: Change) -> Ref:
    """Return the tree of a change's document, new from the ground.

    Raises:
        InvalidJSON: It is not JSON; the error has the pointer.
    """
    return change.document if isinstance(change.document, Ref) else root_of(change.document)


def _proposal(change: Change, operations: list[Operation], body: bytes, tree: Ref | None, author: str) -> Proposal:
    author = change.author or author or default_author()
    check_text(author, change.message, change.tags)
    if change.authored is not None:
        check_moment(change.authored, "authored")
    if change.meta is not None:
        check(dict(change.meta))
    return Proposal(
        operations,
        author,
        change.message,
        tuple(change.tags),
        change.authored,
        dict(change.meta) if change.meta else None,
        change.allow_empty,
        body,
        tree,
    )


def _applied(root: Ref | None, operations: list[Operation], nodes: Nodes) -> Ref:
    draft = Draft(root, nodes)
    draft.apply(operations)
    return draft.seal()


def _name(at: int, several: Sequence[object], fault: KBStoreError) -> None:
    if len(several) > 1:
        fault.args = (f"change {at}: {fault}", *fault.args[1:])
