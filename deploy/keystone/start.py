"""Prepares Keystone's directory if that is needed, then becomes the process that serves it on port 5000.

KEYSTONE_DIR is the directory (default /var/lib/keystone): keep it, for it holds users and keys. KEYSTONE_PUBLIC_URL is
what the catalogue tells clients. OS_BOOTSTRAP_PASSWORD_FILE names the file with the administrator's password. With
KEYSTONE_TLS_CERT_FILE and KEYSTONE_TLS_KEY_FILE it speaks https alone.
"""

import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
CONFIG = """\
[DEFAULT]
use_stderr = true
[database]
connection = sqlite:///{directory}/keystone.db
[token]
provider = fernet
[fernet_tokens]
key_repository = {directory}/keys
[fernet_receipts]
key_repository = {directory}/keys
[credential]
key_repository = {directory}/credential-keys
[auth]
methods = external,password,token,totp,application_credential
[cache]
# Without it a validation costs a second of CPU. This backend hands out copies: Keystone alters what it gets.
enabled = true
backend = dogpile.cache.memory_pickle
"""


def main():
    directory = pathlib.Path(os.environ.get("KEYSTONE_DIR", "/var/lib/keystone"))
    url = os.environ.get("KEYSTONE_PUBLIC_URL", "http://localhost:5000/v3")
    for name in ("keys", "credential-keys", "conf.d"):
        (directory / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    config = directory / "keystone.conf"
    config.write_text(CONFIG.format(directory=directory), encoding="utf-8")
    if not (directory / "complete").exists():
        with open(os.environ["OS_BOOTSTRAP_PASSWORD_FILE"], encoding="utf-8") as file:
            password = file.read().removesuffix("\n")
        environment = {**os.environ, "OS_BOOTSTRAP_PASSWORD": password}
        prepared = subprocess.run(
            [sys.executable, HERE / "prepare.py", directory, url], env=environment, check=False,
        )
        if prepared.returncode != 0:
            sys.exit(prepared.returncode)
    os.environ["OS_KEYSTONE_CONFIG_FILES"] = str(config)
    certificate = os.environ.get("KEYSTONE_TLS_CERT_FILE")
    socket = ["--http-socket", ":5000"]
    if certificate:
        socket = ["--https-socket", f":5000,{certificate},{os.environ['KEYSTONE_TLS_KEY_FILE']}"]
    # One request at a time: SQLite turns away the second of two writers that have read before. The whole body is
    # read first, since closing a connection with unread bytes would destroy the answer.
    os.execvp("uwsgi", [
        "uwsgi", "--plugin", "python3", *socket,
        "--wsgi-file", shutil.which("keystone-wsgi-public"), "--lazy-apps", "--enable-threads",
        "--post-buffering", "65536", "--need-app", "--die-on-term", "--buffer-size", "65535",
        "--disable-logging",
        # A master makes 0 of an end that was asked for. Python is not taken down then: a module that Keystone loads
        # would crash.
        "--master", "--skip-atexit-teardown",
    ])


main()
