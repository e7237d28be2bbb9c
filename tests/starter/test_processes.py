"""Children: started, awaited, never silent about their death, never left behind."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from failover.errors import FailoverError
from starter.embedded.processes import Child, first_to_end, ready, start

SECOND = timedelta(seconds=1)

Starter = Callable[[str], "asyncio.Future[Child]"]


@pytest.fixture
async def child(tmp_path: Path) -> AsyncIterator[Callable[[str], object]]:
    """Starts children from a few lines of Python, and ends them with the test."""
    started: list[Child] = []

    async def begin(code: str) -> Child:
        command = [sys.executable, "-c", textwrap.dedent(code)]
        log = tmp_path / "logs" / f"{len(started)}.log"
        started.append(await start("part", command, log=log, environ=os.environ))
        return started[-1]

    yield begin
    for one in started:
        await one.stop(SECOND / 10)


async def test_a_child_tells_when_it_is_ready(child: Callable[[str], "asyncio.Future[Child]"], tmp_path: Path) -> None:
    """What it wrote into its ready file is what the waiter gets, half a file notwithstanding."""
    file = tmp_path / "ready.json"
    code = f"""
        import time
        file = open({str(file)!r}, "w"); file.write('{{"port":'); file.flush()
        time.sleep(0.1); file.write(' 1}}'); file.flush(); time.sleep(60)
    """
    assert await ready(await child(code), file, 5 * SECOND) == {"port": 1}


async def test_a_child_that_ends_early_is_told_with_its_last_words(
    child: Callable[[str], "asyncio.Future[Child]"], tmp_path: Path
) -> None:
    """Which part, how it ended, and the tail of its log."""
    failing = await child("print('first'); raise SystemExit('no port for me')")
    with pytest.raises(FailoverError) as caught:
        await ready(failing, tmp_path / "never.json", 5 * SECOND)
    for words in ("The part ended with exit code 1", "no port for me", str(failing.log)):
        assert words in str(caught.value)


async def test_a_child_that_dawdles_is_told(child: Callable[[str], "asyncio.Future[Child]"], tmp_path: Path) -> None:
    """Nobody waits for ever."""
    slow = await child("import time; time.sleep(60)")
    with pytest.raises(FailoverError, match=r"was not ready within 0\.2 s"):
        await ready(slow, tmp_path / "never.json", SECOND / 5)


async def test_the_first_to_end_is_named(child: Callable[[str], "asyncio.Future[Child]"]) -> None:
    """A part that is killed is noticed while the others run on."""
    steady, doomed = await child("import time; time.sleep(60)"), await child("import time; time.sleep(60)")
    waiting = asyncio.create_task(first_to_end([steady, doomed]))
    os.kill(doomed.process.pid, signal.SIGKILL)
    assert await waiting is doomed
    assert "was killed by signal 9" in doomed.ending()
    assert steady.process.returncode is None


async def test_a_child_that_ignores_the_request_to_end_is_made_to(
    child: Callable[[str], "asyncio.Future[Child]"], tmp_path: Path
) -> None:
    """SIGTERM first, SIGKILL after the grace."""
    file = tmp_path / "ready.json"
    stubborn = await child(f"""
        import signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        open({str(file)!r}, "w").write("{{}}"); time.sleep(60)
    """)
    await ready(stubborn, file, 5 * SECOND)
    await stubborn.stop(SECOND / 5)
    assert stubborn.process.returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
async def test_no_child_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    """kill -9 of the parent leaves nothing behind."""
    code = """
        import asyncio, os, sys
        from pathlib import Path
        from starter.embedded.processes import start
        async def main():
            command = [sys.executable, "-c", "import time; time.sleep(60)"]
            child = await start("part", command, log=Path(sys.argv[1]), environ=os.environ)
            print(child.process.pid, flush=True)
            await asyncio.sleep(60)
        asyncio.run(main())
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "log")]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])  # noqa: ASYNC220
    assert parent.stdout is not None
    orphan = int(await asyncio.to_thread(parent.stdout.readline))
    parent.kill()
    parent.wait()
    async with asyncio.timeout(5):
        while _runs(orphan):
            await asyncio.sleep(0.02)
    parent.stdout.close()


def _runs(pid: int) -> bool:
    """Whether a process runs; a zombie waiting for init to reap it does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
