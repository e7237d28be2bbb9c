"""failoverctl for the blocks, without its imports: a process that has loaded everything, and forks for each command.

What runs is `starter.cli.run` with the caller's own arguments, environment and directory, in a process of its own.
"""

import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any


def preload() -> None:
    import rich.live  # noqa: F401
    import slack_sdk.web  # noqa: F401

    import providers.bedrock
    import providers.llama
    import providers.vertex  # noqa: F401
    import starter.checking.monitor
    import starter.checking.sampling
    import starter.checking.validation
    import starter.cli
    import starter.dashboard
    import starter.notifying
    import starter.procedures.canary_steering
    import starter.procedures.emergency
    import starter.procedures.failback
    import starter.procedures.immediate
    import starter.procedures.service
    import starter.reporting  # noqa: F401


def serve(path: str) -> None:
    preload()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    door = socket.socket(socket.AF_UNIX)
    door.bind(path)
    door.listen(16)
    while True:
        caller, _ = door.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _answer(caller, json.loads(caller.makefile().readline()))
        caller.close()


def _answer(caller: socket.socket, asked: dict[str, Any]) -> None:
    from starter.cli import run

    out, err = Path(asked["out"]), Path(asked["err"])
    for number, file in ((1, out), (2, err)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    code = 70
    try:
        code = run(asked["argv"])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        caller.sendall(f"{code}\n".encode())
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
