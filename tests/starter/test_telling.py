"""What is told outside, from the operator's desk: a whole incident, its support case, trying channels, the doctor."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from activities.board import VerdictBoard
from activities.channels.memory import MemoryChannel
from activities.checks import people
from activities.notifiers.memory import MemoryNotifier
from failover.config.communications import ChannelName
from failover.config_file import parse
from failover.findings import Health
from starter import worker_parts as composition
from starter.channels import channels
from starter.settings import Settings
from tests.activities.test_channels import Receiver, receiving
from tests.starter.conftest import CONFIG, Desk

SECRETS = {"PAGERDUTY_ROUTING_KEY": "secret-p", "OUTGOING_WEBHOOK_SECRET": "secret-w", "STATUS_API_KEY": "secret-s"}


def told(url: str) -> str:
    return f"""
communications:
  status_page: {{kind: post, url: "{url}/status"}}
  support: {{aws: {{open: approve}}}}
  pagerduty: {{enabled: true, url: "{url}/pager"}}
  webhook: {{url: "{url}/hook"}}
  timeout: 2s
"""


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as one:
        yield one


@pytest.fixture
async def desk(desk_without_worker: Desk, receiver: Receiver) -> AsyncIterator[Desk]:
    """A desk whose configuration names channels outside; a worker tells them, but for AWS, which is kept in memory."""
    found = desk_without_worker
    text = CONFIG + told(receiver.url)
    (found.home / "failover.yaml").write_text(text)
    config = parse(text, "desk.yaml").config
    parts = composition.Parts(
        config=config,
        clients=dict(found.providers),
        plane=found.plane,
        notifier=MemoryNotifier(),
        evidence=found.evidence,
        board=VerdictBoard(),
        channels={
            **channels(config, Settings.from_env(SECRETS)),
            ChannelName.AWS_SUPPORT: MemoryChannel("case-12345-2026"),
        },
    )
    async with composition.build_worker(found.client, parts):
        yield found


async def test_an_incident_is_shown_its_case_opened_and_all_of_it_reported(desk: Desk, receiver: Receiver) -> None:
    """By commands alone: failover, show, approve, show, report."""
    done = await desk.ctl("failover", "--failed-provider", "bedrock", "--reason", "it fails", "--yes")
    assert done.code == 0, done.err
    shown = await desk.ctl("communications", "show")
    assert shown.code == 0, shown.err
    assert "AWS Support: no case yet" in shown.out
    assert "failoverctl communications approve failover/bedrock" in shown.out
    nothing = await desk.ctl("communications", "approve", "failover/google", "--yes")
    assert nothing.code == 4 and "no support case waits" in nothing.err
    approved = await desk.ctl("communications", "approve", "--actor", "anna", "--yes")
    assert approved.code == 0 and "Approved: aws-support" in approved.out, approved.err
    async with asyncio.timeout(30):
        while "case-12345-2026" not in (report := await desk.ctl("report", "--output", "-")).out:
            await asyncio.sleep(0.1)
    assert "Status page: incident " in report.out and "approved by anna" in report.out
    kept = (await desk.ctl("report", "--json")).data["beside"]["communications.json"]
    assert {one["name"] for one in kept["channels"]} == {"status-page", "aws-support", "pagerduty", "webhook"}
    paths = [path for _, path, _ in receiver.got]
    assert {"/status", "/pager", "/hook"} <= set(paths)
    assert [body["status"] for _, path, body in receiver.got if path == "/status"][-1] == "resolved"
    assert "secret-" not in report.out
    runs = await desk.ctl("runs")
    assert "Communications" not in runs.out


async def test_every_channel_can_be_tried_and_says_that_it_is_a_test(desk: Desk, receiver: Receiver) -> None:
    """Nothing is published or opened; an alert is resolved at once; one that refuses is told, with exit code 5."""
    receiver.got.clear()
    tried = await desk.ctl("notify", "all", "--test", SLACK_BOT_TOKEN="", **SECRETS, **NO_AWS)
    assert "ok      pagerduty: told, as a test." in tried.out and "ok      webhook" in tried.out
    assert "Nothing was opened or published" in tried.out
    sent = [(path, body) for _, path, body in receiver.got]
    assert [path for path, _ in sent if path == "/status"] == []
    pages = [body for path, body in sent if path == "/pager"]
    assert [one["event_action"] for one in pages] == ["trigger", "resolve", "resolve"]
    assert pages[0]["payload"]["summary"].startswith("[TEST]") and pages[0]["payload"]["severity"] == "info"
    assert [body["test"] for path, body in sent if path == "/hook"] == [True]
    assert tried.code == 5 and "FAILED  aws-support" in tried.out


NO_AWS = {
    "AWS_ACCESS_KEY_ID": "",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
}


async def test_notify_knows_the_channels_by_name(desk: Desk, receiver: Receiver) -> None:
    receiver.got.clear()
    done = await desk.ctl("notify", "webhook", "all is lost", **SECRETS)
    assert (done.code, receiver.got[-1][2]["text"], receiver.got[-1][2]["test"]) == (0, "all is lost", False)
    public = await desk.ctl("notify", "status-page", "all is lost", **SECRETS)
    assert public.code == 2 and "told of incidents alone" in public.err
    off = await desk.ctl("notify", "email", "--test", **SECRETS)
    assert off.code == 2 and "email is not switched on" in off.err
    unset = await desk.ctl("notify", "pagerduty", "all is lost")
    assert unset.code == 5 and "PAGERDUTY_ROUTING_KEY is not set" in unset.err


async def test_the_doctor_looks_at_the_channels_without_telling_anybody(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in NO_AWS.items():
        monkeypatch.setenv(name, value)
    config = parse(CONFIG + told(receiver.url), "desk.yaml").config
    by_name = {one.about: one for one in await people.communications(channels(config, Settings.from_env(SECRETS)))}
    assert by_name["pagerduty"].health is Health.OK and by_name["webhook"].health is Health.OK
    assert by_name["aws-support"].health is Health.WARNING and "credentials" in by_name["aws-support"].said
    assert "notify aws-support --test" in by_name["aws-support"].repair
    assert receiver.got == []
    (nobody,) = await people.communications(channels(parse(CONFIG, "desk.yaml").config, Settings.from_env({})))
    assert nobody.health is Health.OK and "nobody outside is told" in nobody.said
    (secret,) = people.secrets(config, {})
    assert secret.health is Health.OK, "channels outside are looked at for themselves"


async def test_a_worker_without_the_secret_says_so_in_the_report(desk_without_worker: Desk, receiver: Receiver) -> None:
    """And the failover is none the worse for it."""
    found = desk_without_worker
    config = parse(CONFIG + told(receiver.url), "desk.yaml").config
    parts = composition.Parts(
        config=config,
        clients=dict(found.providers),
        plane=found.plane,
        notifier=MemoryNotifier(),
        evidence=found.evidence,
        board=VerdictBoard(),
    )
    parts = replace(parts, channels=channels(config, Settings.from_env({})))
    async with composition.build_worker(found.client, parts):
        done = await found.ctl("failover", "--failed-provider", "google", "--yes")
        assert done.code == 0, done.err
        async with asyncio.timeout(30):
            while "PAGERDUTY_ROUTING_KEY is not set" not in (await found.ctl("report", "--output", "-")).out:
                await asyncio.sleep(0.1)
