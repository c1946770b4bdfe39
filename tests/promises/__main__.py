"""
A swarm and its verdict from the command line.

    python -m tests.promises PORT@HOST[;…] --seat cad=25 [--seat mesh=5] [--clients 50] [--seconds 10] [--record F]
    python -m tests.promises check F --seat cad=25
"""

import argparse
import sys
from pathlib import Path

from lsproxy.net.address import parse_server_list
from tests.promises.checker import check
from tests.promises.history import read_history
from tests.promises.recorder import run_swarm


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.promises", description=__doc__)
    parser.add_argument("servers", help="a server list, or `check` and a recorded file")
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--seat", action="append", required=True, metavar="FEATURE=COUNT")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", type=Path)
    told = parser.parse_args()
    capacity = {feature: int(count) for feature, _, count in (seat.partition("=") for seat in told.seat)}
    if told.servers == "check":
        history = read_history(told.file)
    else:
        history = run_swarm(
            [(address.host, address.port) for address in parse_server_list(told.servers)],
            clients=told.clients,
            seconds=told.seconds,
            features=list(capacity),
            seed=told.seed,
            record_path=told.record,
        )
    violations = check(history, capacity)
    for violation in violations:
        sys.stdout.write(f"{violation.time:.6f} promise {violation.promise}: {violation.sentence}\n")
    sys.stdout.write(f"{len(history)} records, {len(violations)} violations\n")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
