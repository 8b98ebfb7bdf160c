"""Makes sure that projects and users exist, through Keystone's own API. Repeating it changes nothing.

    seed.py URL FILE

URL ends in /v3. FILE is JSON:

    {"projects": ["demo"],
     "users": [{"name": "joe", "password_file": "/run/secrets/joe", "project": "demo", "role": "member"}]}

A user may have "options" and a "totp" secret as Keystone takes them. A password stands in "password_file", or in
"password" where it is no secret. The administrator's is in the file that OS_BOOTSTRAP_PASSWORD_FILE names, or in
OS_BOOTSTRAP_PASSWORD. Waits until Keystone answers, at most WAIT seconds.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

DOMAIN = "default"
WAIT = 180
# A proxy of the caller's has no business between us and the service.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def secret(value, path):
    if path:
        with open(path, encoding="utf-8") as file:
            return file.read().removesuffix("\n")
    if not value:
        sys.exit("seed.py: a password is missing")
    return value


class Cloud:
    def __init__(self, url):
        self.url = url
        self.token = None

    def call(self, method, path, body=None):
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["X-Auth-Token"] = self.token
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with OPENER.open(request, timeout=60) as answer:
            text = answer.read()
            return (json.loads(text) if text else None), answer.headers

    def log_in(self, password):
        domain = {"id": DOMAIN}
        user = {"name": "admin", "domain": domain, "password": password}
        auth = {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"name": "admin", "domain": domain}},
        }
        _, headers = self.call("POST", "/auth/tokens", {"auth": auth})
        self.token = headers["X-Subject-Token"]

    def ensure(self, kind, name, **fields):
        """Returns the id of what has this name; makes it if there is none."""
        found, _ = self.call("GET", f"/{kind}s?" + urllib.parse.urlencode({"name": name}))
        if found[f"{kind}s"]:
            return found[f"{kind}s"][0]["id"]
        made, _ = self.call("POST", f"/{kind}s", {kind: {"name": name, **fields}})
        return made[kind]["id"]

    def user(self, user, projects):
        project = projects[user["project"]]
        user_id = self.ensure(
            "user", user["name"],
            password=secret(user.get("password"), user.get("password_file")),
            domain_id=DOMAIN, default_project_id=project, options=user.get("options", {}),
        )
        role = self.ensure("role", user["role"])
        self.call("PUT", f"/projects/{project}/users/{user_id}/roles/{role}")
        if "totp" in user:
            self.one_time_codes(user_id, user["totp"])

    def one_time_codes(self, user_id, blob):
        query = urllib.parse.urlencode({"user_id": user_id, "type": "totp"})
        found, _ = self.call("GET", f"/credentials?{query}")
        if not found["credentials"]:
            credential = {"type": "totp", "user_id": user_id, "blob": blob}
            self.call("POST", "/credentials", {"credential": credential})


def wait_for(cloud):
    """The service may start at the same time as we do."""
    until = time.monotonic() + WAIT
    while True:
        try:
            return cloud.call("GET", "")
        except OSError as error:
            if time.monotonic() > until:
                sys.exit(f"seed.py: no answer from {cloud.url} within {WAIT} s: {error}")
            time.sleep(1)


def main():
    url, path = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        wanted = json.load(file)
    cloud = Cloud(url)
    wait_for(cloud)
    environment = os.environ.get
    cloud.log_in(secret(environment("OS_BOOTSTRAP_PASSWORD"), environment("OS_BOOTSTRAP_PASSWORD_FILE")))
    projects = {name: cloud.ensure("project", name, domain_id=DOMAIN) for name in wanted["projects"]}
    for user in wanted["users"]:
        cloud.user(user, projects)
        print(f"{user['name']}: {user['role']} of {user['project']}")


try:
    main()
except urllib.error.HTTPError as error:
    sys.exit(f"seed.py: {error.url}: {error}: {error.read(500).decode(errors='replace')}")
