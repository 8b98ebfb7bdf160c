"""Creates the projects and users that the tests know, through Keystone's own API.

joe is a member of `demo`, ann of `other`, rita a reader of `demo`; mia, a member of `demo`, needs a
password and a one-time code; `vmctl` is the service that may validate tokens and nothing more.
"""

import json
import os
import sys
import urllib.request

URL = sys.argv[1]
ADMIN_PASSWORD = os.environ["VMCTL_SEED_PASSWORD"]
USER_PASSWORD = "1234"
MFA_SECRET = "NVUWCIDJOMQG63TFEBXWMIDVOM7Q"
DOMAIN = "default"
# A proxy of the caller's has no business between us and loopback.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def call(method, path, body=None, token=None):
    headers = {"Content-Type": "application/json"}
    if token:
        headers["X-Auth-Token"] = token
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(URL + path, data, headers, method=method)
    with OPENER.open(request, timeout=60) as answer:
        text = answer.read()
        return (json.loads(text) if text else None), answer.headers


def administrator_token():
    domain = {"id": DOMAIN}
    user = {"name": "admin", "domain": domain, "password": ADMIN_PASSWORD}
    auth = {
        "identity": {"methods": ["password"], "password": {"user": user}},
        "scope": {"project": {"name": "admin", "domain": domain}},
    }
    _, headers = call("POST", "/auth/tokens", {"auth": auth})
    return headers["X-Subject-Token"]


class Cloud:
    def __init__(self, token):
        self.token = token
        listed, _ = call("GET", "/roles", token=token)
        self.roles = {role["name"]: role["id"] for role in listed["roles"]}

    def create(self, kind, **fields):
        answer, _ = call("POST", f"/{kind}s", {kind: fields}, self.token)
        return answer[kind]["id"]

    def project(self, name):
        return self.create("project", name=name, domain_id=DOMAIN)

    def user(self, name, password, project, role, options=None):
        user = self.create(
            "user", name=name, password=password, domain_id=DOMAIN,
            default_project_id=project, options=options or {},
        )
        if role not in self.roles:
            self.roles[role] = self.create("role", name=role)
        path = f"/projects/{project}/users/{user}/roles/{self.roles[role]}"
        call("PUT", path, token=self.token)
        return user


def main():
    cloud = Cloud(administrator_token())
    demo, other, service = map(cloud.project, ("demo", "other", "service"))
    cloud.user("joe", USER_PASSWORD, demo, "member")
    cloud.user("ann", USER_PASSWORD, other, "member")
    cloud.user("rita", USER_PASSWORD, demo, "reader")
    cloud.user("vmctl", ADMIN_PASSWORD, service, "service")
    mia = cloud.user("mia", USER_PASSWORD, demo, "member", options={
        "multi_factor_auth_enabled": True,
        "multi_factor_auth_rules": [["password", "totp"]],
    })
    cloud.create("credential", type="totp", user_id=mia, blob=MFA_SECRET)


main()
