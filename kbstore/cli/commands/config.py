"""`kbstore config`: the settings shared by all writers and clones of a store."""

import click

from kbstore.cli.options import as_json_option, author_option, command, write_id_option
from kbstore.cli.output import note, say, say_json
from kbstore.cli.pending import settled
from kbstore.cli.session import Session
from kbstore.history.settings import COLLECTION, identified, identity_setting
from kbstore.jsondoc.identity import decoded, encoded
from kbstore.kit.escape import visible

_SETTINGS = ("collection", "identity")


@command("config")
@click.argument("setting", required=False, metavar="[SETTING]", type=click.Choice(_SETTINGS))
@click.argument("values", nargs=-1, metavar="[VALUE]...")
@click.option("--unset", is_flag=True, help="Remove the setting.")
@author_option
@write_id_option
@as_json_option
@click.pass_context
def config_command(
    ctx: click.Context,
    setting: str | None,
    values: tuple[str, ...],
    unset: bool,
    author: str | None,
    write_id: str | None,
    as_json: bool,
) -> None:
    """List settings, or change one for all writers and clones.

    `collection POINTER` sets the container of the entries. `identity POINTER NAMES` sets the members that identify the
    elements of an array: a name, or several names with commas in between (in a name, write %2C for a comma and %25 for
    a percent sign). Without a setting, the collection and the identifying members are found in the document.

    \b
    Example:
      kbstore config
      kbstore config collection /problems
      kbstore config identity /articles id
      kbstore config identity /places city,hall
      kbstore config identity /places --unset
    """
    takes_pointer = setting == "identity"
    wanted = {"collection": 1, "identity": 2}.get(setting or "", 0)
    if len(values) > wanted or (unset and len(values) != takes_pointer) or (unset and setting is None):
        raise click.UsageError("give one setting and its value, or --unset", ctx)
    session = ctx.ensure_object(Session)
    if (len(values) == wanted and setting is not None) or unset:
        name = identity_setting(values[0]) if takes_pointer else COLLECTION
        value = None if unset else values if not takes_pointer else tuple(map(decoded, values[1].split(",")))
        with session.open(author=author) as store, settled(session, store, write_id) as ident:
            was_set = name in store.settings()
            store.set(name, value, write_id=ident)
            done = "was set" if not unset else "was removed" if was_set else "is not set"
            session.landed = f"{_shown(name)} {done}"
            if as_json:
                say_json(_fields(name, value))
            else:
                note(visible(session.landed))
        return
    with session.read() as store:
        found = store.settings()
    if not (found or as_json):
        note("nothing is set, so the collection and what identifies elements are found")
    chosen = identity_setting(values[0]) if values else None
    for name, value in found.items():
        if (chosen is None and (setting is None or _shown(name).startswith(setting))) or name == chosen:
            if as_json:
                say_json(_fields(name, value))
            else:
                pointer = identified(name)
                text = value[0] if pointer is None else ",".join(map(encoded, value))
                say(visible(f"{_shown(name)} {text or repr(text)}"))


def _shown(name: str) -> str:
    """Return the setting as written on the command line."""
    pointer = identified(name)
    return name if pointer is None else f"identity {pointer or repr(pointer)}"


def _fields(name: str, value: tuple[str, ...] | None) -> dict[str, object]:
    pointer = identified(name)
    told = None if value is None else value[0] if pointer is None else list(value)
    return {"setting": name.partition(":")[0], **({} if pointer is None else {"pointer": pointer}), "value": told}
