"""Prints the directories of a container in which a user could write, on one line: writable.py PID UID

PID is a process of the container. A file counts if its mode lets the user write and its file system is not read-only;
below a directory that counts nothing is looked at. Kernel file systems are left out.
"""

import os
import stat
import sys

SKIP = {"/proc", "/sys", "/dev/pts", "/dev/mqueue"}


def may_write(status, uid):
    mode = status.st_mode
    return bool(
        (status.st_uid == uid and mode & stat.S_IWUSR)
        or (status.st_gid == uid and mode & stat.S_IWGRP)
        or mode & stat.S_IWOTH
    )


def look(root, path, uid, found):
    real = root + path
    status = os.lstat(real)
    if stat.S_ISLNK(status.st_mode) or not (stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)):
        return
    if may_write(status, uid) and not os.statvfs(real).f_flag & os.ST_RDONLY:
        found.append(path)
    elif stat.S_ISDIR(status.st_mode):
        for name in os.listdir(real):
            below = f"{path.rstrip('/')}/{name}"
            if below not in SKIP:
                look(root, below, uid, found)


found = []
look(f"/proc/{sys.argv[1]}/root", "/", int(sys.argv[2]), found)
print(*sorted(found))
