"""Reader for patches from a file or a pipe: plain RFC 6902, or the object printed by `kbstore diff --json`."""

from typing import NamedTuple

from kbstore.errors import InvalidJSON, PatchError
from kbstore.jsondoc.canonical import encode, loads


class PatchFile(NamedTuple):
    """A patch, and the base version of the patch, if known.

    Attributes:
        patch: JSON text of RFC 6902 operations.
        base: Id of the version that the patch was made from; None if the text does not name a version.
        base_name: The name of the base, for messages.
    """

    patch: bytes
    base: str | None = None
    base_name: str = ""


def read_patch(text: bytes) -> PatchFile:
    """Read a patch in either form; an array is not checked here, but when the patch is applied.

    Raises:
        PatchError: The text is an object without a patch.
    """
    if text.lstrip()[:1] != b"{":
        return PatchFile(text)
    try:
        value = loads(text)
    except InvalidJSON as fault:
        raise PatchError(f"the patch cannot be read: {fault}", hint=fault.hint) from fault
    patch, base = value.get("patch"), value.get("base")
    if not isinstance(patch, list) or not isinstance(base, str | None):
        if "op" in value:
            raise PatchError("a single operation is not a patch", hint="put [ before it and ] behind it")
        raise PatchError(
            "this is a document: neither an array of operations nor the object that kbstore diff --json prints",
            hint="commit a document with: kbstore commit -m TEXT, or kbstore commit --file FILE -m TEXT",
        )
    name = value.get("from")
    return PatchFile(encode(patch), base, name if isinstance(name, str) else "")
