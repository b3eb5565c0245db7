"""Sets of migrations that come with migrator, for learning and for tests; nothing is ever written here."""

from importlib.resources import files
from pathlib import Path

from kbstore.migrator.errors import MigrationError


def sample_folder(name: str = "troubleshooting") -> Path:
    """Return the folder of one set; the `.sql` files are like the files of any folder of migrations.

    Raises:
        MigrationError: There is no such set; the hint lists the sets.
    """
    here = Path(str(files(__name__)))
    names = sorted(entry.name for entry in here.iterdir() if entry.is_dir() and not entry.name.startswith("_"))
    if name not in names:
        raise MigrationError(f"there is no set of migrations {name!r}", hint=f"there are: {', '.join(names)}")
    return here / name
