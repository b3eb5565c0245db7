"""`kbstore trust`: list or change the configurations of others obeyed on this machine."""

import os

import click

from kbstore.cli.options import as_json_option, command
from kbstore.cli.output import note, say, say_json
from kbstore.kit import trust
from kbstore.kit.escape import visible


@command("trust")
@click.argument("place", required=False, metavar="[DIR|URL]")
@click.option("--remove", is_flag=True, help="Trust the place no longer.")
@as_json_option
@click.pass_context
def trust_command(ctx: click.Context, place: str | None, remove: bool, as_json: bool) -> None:
    """List trusted places, or trust a folder or a URL.

    Your own folder needs no trust. Trust is for a folder of somebody else, or below a folder that everybody may write,
    and includes all subfolders. A trusted configuration may run commands, use your environment variables, and send your
    credentials to the server named in the configuration. A trusted URL is that of a project's store. Trust is common to
    kbstore, health and migrator.

    \b
    Example:
      kbstore trust /srv/team
      kbstore trust --remove /srv/team
      kbstore trust
    """
    if place is None:
        if remove:
            raise click.UsageError("name what is to be removed", ctx)
        known = trust.load(os.environ)
        if as_json:
            say_json({"folders": sorted(known.folders), "urls": sorted(known.urls)})
            return
        for each in (*sorted(known.folders), *sorted(known.urls)):
            say(visible(each))
        return
    kept = trust.change(os.environ, place, remove=remove)
    over = trust.covering(os.environ, place) if remove else ""
    if as_json:
        known = trust.load(os.environ)
        say_json({"folders": sorted(known.folders), "urls": sorted(known.urls)})
        return
    if over:
        note(f"{visible(kept)} was taken off the list, and is still trusted because {visible(over)} is")
    else:
        note(f"{visible(kept)} is {'no longer ' if remove else ''}trusted")
