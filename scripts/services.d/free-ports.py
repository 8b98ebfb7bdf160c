"""Prints N free loopback ports but those of standard input, for services that cannot be told to choose one themselves.

They lie below the kernel's ephemeral range, so that no outgoing connection takes one between this
moment and the service's start, and away from the services' defaults (25672 is RabbitMQ's).
"""

import random
import socket
import sys

candidates = [port for port in range(20000, 30000) if not 25000 <= port < 26000]


def main() -> None:
    wanted = int(sys.argv[1])
    chosen = {int(line) for line in sys.stdin}
    held = []
    for port in random.SystemRandom().sample(candidates, len(candidates)):
        if port in chosen:
            continue
        candidate = socket.socket()
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            candidate.close()
            continue
        held.append(candidate)
        if len(held) == wanted:
            break
    print(*(s.getsockname()[1] for s in held))


main()
