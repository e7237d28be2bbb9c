"""Where evidence lies: a directory, a bucket behind a real S3 endpoint, and a bucket with a copy at hand."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer
from pydantic import TypeAdapter, ValidationError

from activities.archive import CopiedArchive, DirectoryArchive
from activities.evidence import RECORD, EvidenceStore, folder_of
from failover.config.evidence import Evidence
from failover.errors import RequestError, Unavailable
from failover.incident import Moments, RunRecord
from failover.ports import Archive
from providers.s3 import S3Archive
from starter.configuration import demo_config, load
from starter.parts import evidence_store
from tests.records import run_record

T0 = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
CREDENTIALS = ("test", "test")
BUCKET = "evidence"


def record(
    run_id: str = "12345678-aaaa", workflow_id: str = "failover/bedrock", after: timedelta = timedelta(0)
) -> RunRecord:
    return run_record(
        workflow_id=workflow_id,
        run_id=run_id,
        moments=Moments(decided=T0 + after, closed=T0 + after + timedelta(seconds=9)),
    )


def same(left: RunRecord | None, right: RunRecord) -> bool:
    """As it is written: lists and tuples are one there."""
    told = TypeAdapter(RunRecord)
    return left is not None and told.dump_json(left) == told.dump_json(right)


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """A real HTTP endpoint that speaks S3, with one bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    make = boto3.client
    client = make(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )
    client.create_bucket(Bucket=BUCKET)
    yield url
    server.stop()


def bucket(url: str, prefix: str, name: str = BUCKET) -> S3Archive:
    settings = Evidence(bucket=name, prefix=prefix, region="us-east-1", endpoint=url, timeout=timedelta(seconds=2))
    return S3Archive(settings, credentials=CREDENTIALS)


@pytest.fixture(params=["directory", "bucket", "bucket without a prefix", "copied"])
def archive(request: pytest.FixtureRequest, s3: str, tmp_path: Path) -> Archive:
    prefix = f"{tmp_path.name}/of/this/test"
    if request.param == "directory":
        return DirectoryArchive(tmp_path / "incidents")
    if request.param == "bucket":
        return bucket(s3, prefix)
    if request.param == "copied":
        return CopiedArchive(bucket(s3, prefix), DirectoryArchive(tmp_path / "copy"), settled=RECORD)
    name = f"own-{tmp_path.name.replace('_', '-').lower()[:40]}"
    boto3.client(
        "s3", endpoint_url=s3, region_name="us-east-1", aws_access_key_id="t", aws_secret_access_key="t"
    ).create_bucket(Bucket=name)
    return bucket(s3, "", name)


def test_what_is_put_is_there(archive: Archive) -> None:
    """Whole, under its key; put again it is replaced; what was never put is nothing."""
    assert archive.get("b/record.json") is None
    assert archive.keys() == []
    archive.put("b/record.json", b"one")
    archive.put("b/record.json", b"two")
    archive.put("a/record.json", b"other")
    archive.put("a/more.json", b"{}")
    assert archive.get("b/record.json") == b"two"
    assert list(archive.keys()) == ["a/more.json", "a/record.json", "b/record.json"]
    assert list(archive.keys(after="b")) == ["b/record.json"]
    assert list(archive.keys(folder="a")) == ["a/more.json", "a/record.json"]
    assert "b/record.json" in archive.where("b/record.json")


def test_runs_are_listed_by_period(archive: Archive) -> None:
    """By the moment at which they were decided, newest first; the end of a period is not of it."""
    store, hour = EvidenceStore(archive), timedelta(hours=1)
    for number in range(4):
        store.keep(record(run_id=f"run{number}", after=number * hour))
    assert [one.run_id for _, one in store.records()] == ["run3", "run2", "run1", "run0"]
    assert [one.run_id for _, one in store.records(T0 + hour, T0 + 3 * hour)] == ["run2", "run1"]
    latest = store.latest()
    assert latest is not None and latest.run_id == "run3"
    assert same(store.load(store.list()[-1]), record(run_id="run0"))


def test_what_comes_later_lies_beside_the_record(archive: Archive) -> None:
    """Also before the record itself; a folder without a record is no run, and nothing replaces the record so."""
    store, kept = EvidenceStore(archive), record()
    folder = folder_of(kept.moments.decided, kept.workflow_id, kept.run_id)
    store.attach(folder, "communications.json", b'{"told": 1}')
    assert store.list() == [] and store.latest() is None
    store.keep(kept)
    assert store.list() == [folder]
    assert store.find("failover/bedrock") == store.find("failover/bedrock", kept.run_id) == folder
    twin = replace(kept, run_id=f"another-{kept.run_id}", moments=record(after=timedelta(seconds=5)).moments)
    assert store.find("failover/bedrock", twin.run_id) is None
    store.keep(twin)
    assert store.find("failover/bedrock", kept.run_id) == folder != store.find("failover/bedrock", twin.run_id)
    assert store.find("failover/google") is None and store.find("failover/bedrock", "another-run") is None
    assert store.read(folder, "communications.json") == b'{"told": 1}'
    assert store.read(folder, "aftercare.json") is None
    assert store.files(folder) == ["communications.json", "failover-incident-20260131-120000.md", RECORD]
    for name in (RECORD, "../record.json", "Sub/file", ""):
        with pytest.raises(RequestError):
            store.attach(folder, name, b"")


def test_a_record_that_cannot_be_read_hides_no_other(archive: Archive) -> None:
    """Of another version, or cut: it is left out."""
    store = EvidenceStore(archive)
    store.keep(record(run_id="good"))
    archive.put("20260201T000000-odd-1/record.json", b'{"procedure": 1')
    latest = store.latest()
    assert latest is not None and latest.run_id == "good"


GONE = "http://127.0.0.1:1"


def test_a_bucket_that_does_not_answer_is_said_so() -> None:
    """Nothing of the vendor's errors leaks, and no key."""
    away = bucket(GONE, "x")
    for call in (lambda: away.put("a/b", b""), lambda: away.get("a/b"), away.keys):
        with pytest.raises(Unavailable, match=r"The bucket evidence cannot be used: EndpointConnectionError\."):
            call()


def test_a_bucket_that_is_not_there(s3: str) -> None:
    """It says so, rather than that there are no incidents."""
    with pytest.raises(Unavailable, match="NoSuchBucket"):
        bucket(s3, "x", "no-such-bucket").keys()
    with pytest.raises(Unavailable, match="NoSuchBucket"):
        bucket(s3, "x", "no-such-bucket").get("a/b")


def test_the_copy_serves_while_the_bucket_is_away(s3: str, tmp_path: Path) -> None:
    """Keeping fails, so that Temporal tries again, and the evidence is at hand all the same; nothing is kept twice."""
    near, kept = DirectoryArchive(tmp_path / "copy"), record()
    away = EvidenceStore(CopiedArchive(bucket(GONE, "later"), near, settled=RECORD))
    with pytest.raises(Unavailable):
        away.keep(kept)
    assert same(away.latest(), kept)
    back = EvidenceStore(CopiedArchive(bucket(s3, "later"), near, settled=RECORD))
    back.keep(kept)
    again = EvidenceStore(CopiedArchive(bucket(GONE, "later"), near, settled=RECORD))
    assert same(again.latest(), kept)
    elsewhere = EvidenceStore(CopiedArchive(bucket(s3, "later"), DirectoryArchive(tmp_path / "other"), settled=RECORD))
    assert same(elsewhere.latest(), kept)
    assert (tmp_path / "other" / elsewhere.list()[0] / RECORD).exists()


def test_what_changes_is_read_from_far_away(s3: str, tmp_path: Path) -> None:
    """Another machine may have written it since."""
    here = CopiedArchive(bucket(s3, "both"), DirectoryArchive(tmp_path / "here"), settled=RECORD)
    there = CopiedArchive(bucket(s3, "both"), DirectoryArchive(tmp_path / "there"), settled=RECORD)
    here.put("run/aftercare.json", b"1")
    assert there.get("run/aftercare.json") == b"1"
    here.put("run/aftercare.json", b"2")
    assert there.get("run/aftercare.json") == b"2"


def test_a_full_disk_is_said_so(tmp_path: Path) -> None:
    """As anything that does not answer."""
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot be written"):
        DirectoryArchive(tmp_path / "file").put("a/b", b"")


def test_records_of_before_are_read(tmp_path: Path) -> None:
    """One that was kept without the newest fields."""
    store = EvidenceStore(tmp_path)
    store.keep(record())
    [folder] = store.list()
    path = tmp_path / folder / RECORD
    whole = json.loads(path.read_text())
    for name in ("concerns", "writes", "course", "steps", "targets"):
        del whole[name]
    path.write_text(json.dumps(whole))
    assert same(store.load(folder), record())


def test_the_configuration_says_where(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state directory, another one, or a bucket with its copy; credentials are AWS's business."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    config = load(demo_config()).config
    assert evidence_store(None, tmp_path).where == evidence_store(config, tmp_path).where == str(tmp_path / "incidents")
    elsewhere = config.model_copy(update={"evidence": Evidence(directory=str(tmp_path / "else"))})
    assert evidence_store(elsewhere, tmp_path).where == str(tmp_path / "else")
    settings = Evidence(bucket=BUCKET, prefix="wired", region="us-east-1", endpoint=s3)
    store = evidence_store(config.model_copy(update={"evidence": settings}), tmp_path)
    assert store.keep(record()).path == f"s3://{BUCKET}/wired/20260131T120000-failover-bedrock-5678aaaa"
    assert bucket(s3, "wired").keys(folder="20260131T120000-failover-bedrock-5678aaaa")
    assert EvidenceStore(tmp_path / "incidents").latest() is not None


@pytest.mark.parametrize(
    "wrong", [{"region": "x"}, {"endpoint": "http://x"}, {"bucket": "Not A Bucket"}, {"timeout": "0s"}]
)
def test_what_the_section_may_not_say(wrong: dict[str, str]) -> None:
    """A region of no bucket, a name that is none."""
    with pytest.raises(ValidationError):
        Evidence.model_validate(wrong)


class Silent(DirectoryArchive):
    """Far away, and it does not answer."""

    asked = 0

    def keys(self, *, folder: str = "*", after: str = "") -> Sequence[str]:
        self.asked += 1
        raise Unavailable("It does not answer.")


def test_somebody_silent_is_not_asked_again_at_once(tmp_path: Path) -> None:
    """Ramps look at records before they plan, and wait for no bucket twice."""
    far = Silent(tmp_path / "far")
    store = EvidenceStore(CopiedArchive(far, DirectoryArchive(tmp_path / "near"), settled=RECORD))
    store.keep(record())
    for _ in range(3):
        assert len(store.list()) == 1
    assert far.asked == 1
