"""Settings of a store: changes of settings are events in the log of refs, so all writers and clones agree.

A setting has a name and a value, a list of texts. ``collection``: the pointer to the container of the entries.
``identity:POINTER``: the members that identify the elements of the array at the pointer.
"""

from collections.abc import Sequence

from kbstore.errors import KBStoreError
from kbstore.jsondoc.pointer import parse_pointer, shorten

COLLECTION = "collection"
_IDENTITY = "identity:"
_MOST_NAMES = 16


def identity_setting(pointer: str) -> str:
    """Return the name of the setting for the identity of an array's elements."""
    return _IDENTITY + pointer


def identified(name: str) -> str | None:
    """Return the pointer of the array in an identity setting; None for another setting."""
    return name.removeprefix(_IDENTITY) if name.startswith(_IDENTITY) else None


def check_setting(name: str, value: Sequence[str] | None) -> None:
    """Refuse an unknown setting or a wrong value; the value None removes the setting.

    Raises:
        PointerError: A pointer is malformed.
        KBStoreError: The setting or the value is wrong otherwise.
    """
    pointer = identified(name)
    if pointer is not None:
        parse_pointer(pointer)
        if value is not None and not (0 < len(value) <= _MOST_NAMES and all(value) and len(set(value)) == len(value)):
            raise KBStoreError(
                f"{', '.join(map(shorten, value)) or 'nothing'!r} cannot identify elements",
                hint=f"name 1 to {_MOST_NAMES} members that differ, with commas between them: city,hall",
            )
        return
    if name != COLLECTION:
        raise KBStoreError(f"there is no setting {shorten(name)!r}", hint="there are: collection, identity")
    if value is not None:
        if len(value) != 1:
            raise KBStoreError("a collection is one pointer", hint="such as /problems")
        parse_pointer(value[0])
