"""Verifies one callback with the Standard Webhooks library; exits 0 when it is genuine."""

import json
import sys

from standardwebhooks import Webhook

request = json.load(sys.stdin)
event = Webhook(request["secret"]).verify(request["body"], request["headers"])
print(event["data"]["state"])
