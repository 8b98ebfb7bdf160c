"""Makes the database, the keys and the first administrator of a new Keystone.

The same as five calls of `keystone-manage`, but the program is imported once: importing it takes
longer than most of the commands. Leaves a file `complete` when all went well.
"""

import os
import sqlite3
import sys

from keystone.cmd import manage


def keystone_manage(directory: str, *arguments: str) -> None:
    """Runs one command in a process of its own, since the program keeps global state."""
    child = os.fork()
    if child == 0:
        sys.argv = [
            "keystone-manage",
            "--config-file", f"{directory}/keystone.conf",
            "--config-dir", f"{directory}/conf.d",
            *arguments,
        ]
        manage.main()
        sys.exit(0)
    _, status = os.waitpid(child, 0)
    if status != 0:
        sys.exit(f"keystone-manage {arguments[0]} failed with status {status}")


def main() -> None:
    directory, url = sys.argv[1:]
    keystone_manage(directory, "db_sync")
    # Without a write-ahead log, readers and writers exclude each other, and a failed login (which
    # writes) ends with a dropped connection.
    database = sqlite3.connect(f"{directory}/keystone.db")
    database.execute("PRAGMA journal_mode=WAL")
    database.close()
    # The commands already run as the right user: there is none to change to.
    keystone_manage(directory, "fernet_setup")
    keystone_manage(directory, "credential_setup")
    keystone_manage(
        directory, "bootstrap",
        "--bootstrap-public-url", url,
        "--bootstrap-region-id", "RegionOne",
    )
    with open(f"{directory}/complete", "w", encoding="utf-8"):
        pass


main()
