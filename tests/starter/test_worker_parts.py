"""What a worker serves."""

import re
from pathlib import Path

from temporalio.client import Client

from activities.accuracy import BaselineStore, Examiner
from activities.board import VerdictBoard
from activities.evidence import EvidenceStore
from activities.notifiers.memory import MemoryNotifier
from starter import worker_parts as composition
from starter.configuration import demo_config, load
from traffic.memory import MemoryPlane

ROOT = Path(__file__).parents[2]


async def test_no_activity_is_forgotten(tmp_path: Path) -> None:
    """Every activity that is defined is served, once; a workflow that calls another waits for ever."""
    config = load(demo_config()).config
    parts = composition.Parts(
        config=config,
        clients={},
        plane=MemoryPlane({}),
        notifier=MemoryNotifier(),
        evidence=EvidenceStore(tmp_path),
        board=VerdictBoard(),
        examiner=Examiner(config, {}, {}, BaselineStore(tmp_path)),
    )
    client = await Client.connect("127.0.0.1:1", lazy=True)
    served = [
        getattr(one, "__temporal_activity_definition").name for one in composition.activities(client, parts, "queue")
    ]
    sources = "\n".join(file.read_text() for file in (ROOT / "activities").rglob("*.py"))
    assert sorted(served) == sorted(re.findall(r'@activity\.defn\(name="([^"]+)"\)', sources))
