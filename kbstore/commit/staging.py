"""From a caller's changes to proposals: each change checked, and in stored form."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from kbstore.commit.writer import Proposal
from kbstore.errors import KBStoreError, PatchError
from kbstore.history.change import Change, check_text, default_author
from kbstore.history.event import stored_patch
from kbstore.history.member_order import Arrange
from kbstore.history.tree_patch import applied, operations_between
from kbstore.history.version import Version
from kbstore.jsondoc.canonical import check
from kbstore.jsondoc.document import plain
from kbstore.jsondoc.identity import Identities
from kbstore.jsondoc.patch import Operation
from kbstore.jsondoc.pointer import shorten
from kbstore.kit.clock import check_moment
from kbstore.order.carry_over import in_order_of
from kbstore.order.follow_patch import changes_order, patched
from kbstore.order.make_rules import settled
from kbstore.order.rules import Rules
from kbstore.tree.builder import root_of
from kbstore.tree.node import Ref
from kbstore.tree.node_store import Nodes
from kbstore.tree.reader import materialise

if TYPE_CHECKING:
    from kbstore.history.reader import Reader


@dataclass(frozen=True, slots=True)
class Built:
    """A document with its tree built already.

    Attributes:
        document: The document, members in their author's order.
        root: The tree of the document.
    """

    document: Any
    root: Ref


def proposals_of(
    changes: Sequence[Change],
    root: Ref | None,
    nodes: Nodes,
    author: str,
    identities: Identities,
    order_before: Callable[[], Rules] | None = None,
) -> list[Proposal]:
    """Return the proposals for changes.

    Args:
        changes: Documents, also `Built` documents, or patches; each builds on the change before.
        root: The tree under the first change; needed if a change is a document.
        nodes: Source of nodes.
        author: The author, for changes without an author.
        identities: Members that identify the elements of arrays, from the settings of the store.
        order_before: Returns the order of members as the author of the first change saw it.

    Raises:
        PatchError, InvalidJSON: A patch or document is not valid. With several changes, the error names the change.
        KBStoreError: Author, message, labels or times cannot be in a header.
    """
    proposals = []
    has_documents = any(change.has_document for change in changes)
    for at, change in enumerate(changes):
        try:
            if change.has_document == (change.patch is not None):
                raise PatchError("give either a document or a patch")
            body = b""
            tree = None
            order: Arrange | None
            if change.patch is not None:
                operations, body, written = stored_patch(change.patch)
                order = _order_of_patch(operations, written, nodes)
            else:
                tree = tree_of(change)
                operations = operations_between(root, tree, nodes, identities)
                document = change.document.document if isinstance(change.document, Built) else change.document
                order = _order_of_document(plain(document), tree, nodes, order_before if at == 0 else None)
            if has_documents and operations:
                root = applied(root, operations, nodes)
            proposals.append(_proposal(change, operations, body, tree, order, author))
        except KBStoreError as fault:
            _name(at, changes, fault)
            raise
    return proposals


def name_refused(proposals: Sequence[Proposal], root: Ref | None, nodes: Nodes, fault: PatchError) -> None:
    """Name in the error which of several patches does not apply; the patches are tried again from `root` for this."""
    for at, proposal in enumerate(proposals if len(proposals) > 1 else ()):
        try:
            root = applied(root, proposal.operations, nodes)
        except PatchError:
            _name(at, proposals, fault)
            return


def refuse_reuse(version: Version, write_id: str | None) -> NoReturn:
    """Refuse a write id that landed with another change.

    Raises:
        KBStoreError: Always.
    """
    said = version.message.partition("\n")[0]
    raise KBStoreError(
        f"write id {write_id!r} landed already as {version.name} ({shorten(said)!r} by {version.author}), with other "
        "content; nothing was changed",
        hint="leave the write id out, or give a new one: each is for one change",
    )


def restores(store: "Reader", version: Version, revision: "str | int | Version") -> bool:
    """Return whether a version can be what the restoring of a revision has made, when that was the head or not."""
    meant = store.version(revision)
    if meant.state == version.state:
        return True
    if isinstance(revision, str) and revision.partition("~")[0] in ("", "HEAD", store.branch):
        then = version.seq - 1 - (store.head().seq - meant.seq)  # the head was the version before it
        return then > 0 and store.version(then).state == version.state
    return False


def _order_of_document(document: Any, wanted: Ref, nodes: Nodes, order_before: Callable[[], Rules] | None) -> Arrange:
    """Return how to make the rules of members' order from a document and the changes by others meanwhile."""

    def arrange(rules: Rules, _operations: Sequence[Operation], _before: Ref | None, after: Ref) -> Rules:
        if rules.fits(document):
            return rules
        if order_before is not None and order_before().fits(document):
            return rules  # the author changed no order; somebody else did
        model = document
        if after.address != wanted.address:  # rebased: members only in the head keep the head's order
            model = in_order_of(rules.arranged(materialise(after, nodes), canonical=True), document)
        return settled(rules, model, anew=True)

    return arrange


def tree_of(change: Change) -> Ref:
    """Return the tree of a change's document, built new unless the document is `Built`.

    Raises:
        InvalidJSON: The document is not JSON; the error has the pointer.
    """
    return change.document.root if isinstance(change.document, Built) else root_of(change.document)


def _order_of_patch(given: Sequence[Operation], written: Mapping[int, Any], nodes: Nodes) -> Arrange | None:
    """Return how to make the rules from a patch; None if the patch cannot change any order."""
    if not changes_order(given, written):
        return None
    authors = {_stored(given[at].value): value for at, value in written.items()}

    def arrange(rules: Rules, operations: Sequence[Operation], before: Ref | None, after: Ref) -> Rules:
        # A rebase may have merged the patch into another one; values that it left whole are known by their content.
        stored = {at: _stored(op.value) for at, op in enumerate(operations) if isinstance(op.value, bytes | Ref)}
        told = {at: authors[value] for at, value in stored.items() if value in authors}
        return patched(rules, operations, told, before, after, nodes)

    return arrange


def _stored(value: bytes | Ref) -> bytes:
    return value.address if isinstance(value, Ref) else value


def order_of_restore(old: Rules, nodes: Nodes) -> Arrange:
    """Return how to make the rules for a restored version: the old rules, unless the head's rules fit as well."""

    def arrange(rules: Rules, _operations: Sequence[Operation], before: Ref | None, after: Ref) -> Rules:
        if before is not None and before.address == after.address:
            return rules if rules.fits(old.arranged(materialise(after, nodes), canonical=True)) else old
        return old

    return arrange


def _proposal(
    change: Change, operations: list[Operation], body: bytes, tree: Ref | None, order: Arrange | None, author: str
) -> Proposal:
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
        order,
        change.keep_order_changes,
    )


def _name(at: int, several: Sequence[object], fault: KBStoreError) -> None:
    if len(several) > 1:
        fault.args = (f"change {at}: {fault}", *fault.args[1:])
