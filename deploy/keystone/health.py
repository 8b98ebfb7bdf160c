"""Exits with 0 if Keystone answers on this host."""

import urllib.request

opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
with opener.open("http://127.0.0.1:5000/v3", timeout=4) as answer:
    answer.read()
