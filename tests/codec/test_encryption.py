"""The codec itself, and its keys in the environment."""

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload
from temporalio.converter import ActivitySerializationContext

from failover.errors import ConfigError
from starter.codec.encryption import AesGcm
from starter.settings import Settings
from tests.codec.conftest import NEW, OLD, STRANGE
from workflows.payloads import KEY_ID, PROBLEM, StrictPayloadConverter, Unreadable

PLAIN = Payload(metadata={"encoding": b"json/plain"}, data=b'"hunter2"')


def encoded(secret: bytes) -> str:
    return base64.b64encode(secret).decode()


async def sealed() -> Payload:
    [payload] = await AesGcm([OLD]).encode([PLAIN])
    return payload


@given(data=st.binary(max_size=300), metadata=st.dictionaries(st.text(max_size=10), st.binary(max_size=20), max_size=3))
async def test_what_is_encrypted_comes_back_and_shows_nothing(data: bytes, metadata: dict[str, bytes]) -> None:
    """Data and metadata alike; twice the same is never the same."""
    codec = AesGcm([NEW])
    payload = Payload(metadata=metadata, data=data)
    once, again = await codec.encode([payload, payload])
    assert await codec.decode([once, again]) == [payload, payload]
    assert once.data != again.data
    assert set(once.metadata) == {"encoding", KEY_ID}
    assert len(data) < 8 or data not in once.SerializeToString()


async def test_keys_are_rotated_without_a_gap() -> None:
    """The first encrypts; the one before it still opens what it sealed; plain JSON is read as it is."""
    both = AesGcm([NEW, OLD])
    old = await sealed()
    [new] = await both.encode([PLAIN])
    assert (old.metadata[KEY_ID], new.metadata[KEY_ID]) == (b"2025-01", b"2026-11")
    assert await both.decode([old, new, PLAIN]) == [PLAIN, PLAIN, PLAIN]


@pytest.mark.parametrize(
    ("codec", "change", "said"),
    [
        (AesGcm([NEW]), {}, "a key that is not configured here"),
        (AesGcm([replace(NEW, id="2025-01")]), {}, "another key of the same id, or was changed"),
        (AesGcm([OLD]), {"data": b""}, "was changed"),
        (AesGcm([OLD]), {"data": b"x" * 40}, "was changed"),
        (AesGcm([OLD, replace(OLD, id="2026-11")]), {"key": b"2026-11"}, "was changed"),
        (AesGcm([OLD]), {"key": b"\xff\xfe"}, "not configured here"),
        (AesGcm([OLD]), {"key": None}, "not configured here"),
    ],
    ids=["no key", "another key", "empty", "garbage", "another id", "an id that is no text", "no id"],
)
async def test_what_cannot_be_opened_stays_sealed_with_the_reason(
    codec: AesGcm, change: dict[str, bytes | None], said: str
) -> None:
    """Nothing is raised; the converter refuses it, without a value in sight."""
    payload = await sealed()
    if "key" in change:
        payload.metadata.pop(KEY_ID)
        if change["key"] is not None:
            payload.metadata[KEY_ID] = change["key"]
    if change.get("data") is not None:
        payload.data = change["data"] or b""
    [left] = await codec.decode([payload])
    assert left.data == payload.data
    assert said in left.metadata[PROBLEM].decode()
    with pytest.raises(Exception, match=said) as refused:
        StrictPayloadConverter().from_payloads([left])
    assert not isinstance(refused.value, Unreadable), "what a run is sent is malformed, and not waited for"
    assert "hunter2" not in str(refused.value)


async def test_without_a_codec_an_encrypted_payload_is_a_sentence() -> None:
    """A process that was forgotten when the keys were handed out."""
    with pytest.raises(Exception, match="no codec key is configured here"):
        StrictPayloadConverter().from_payloads([await sealed()])


def test_keys_come_from_the_environment_in_order() -> None:
    """And are never shown."""
    settings = Settings.from_env(
        {"FAILOVER_CODEC_KEYS": f"{NEW.id}:{encoded(NEW.secret)}  {OLD.id}:{encoded(OLD.secret)}"}
    )
    assert settings.codec_keys == (NEW, OLD)
    assert str(NEW.secret) not in repr(settings)
    assert Settings.from_env({"FAILOVER_CODEC_KEYS": ""}).codec_keys == ()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (encoded(NEW.secret), "an id, a colon"),
        (f"a:{encoded(b'short')}", "32 random bytes"),
        ("a:hunter2!", "32 random bytes"),
        ("a:ü", "32 random bytes"),
        (f"a b:{encoded(NEW.secret)}", "what is no key"),
        (f"a:{encoded(NEW.secret)} a:{encoded(OLD.secret)}", "two keys by one id"),
    ],
)
def test_what_is_no_key_is_refused_and_not_repeated(value: str, said: str) -> None:
    """At the start of every process, before anything is written with it."""
    with pytest.raises(ConfigError, match=said) as refused:
        Settings.from_env({"FAILOVER_CODEC_KEYS": value})
    assert "hunter2" not in str(refused.value)
    assert encoded(NEW.secret) not in str(refused.value)
    assert STRANGE.id not in str(refused.value)


async def test_what_a_runs_own_steps_answered_is_waited_for() -> None:
    """Only our own workers seal that: no ApplicationError, which would end the run, but one that its task is retried for."""
    context = ActivitySerializationContext(
        namespace="default",
        activity_id="1",
        activity_type="traffic.apply",
        activity_task_queue="q",
        workflow_id="gradual/chat",
        workflow_type="GradualFailover",
        is_local=False,
    )
    with pytest.raises(Unreadable, match="no codec key is configured here"):
        StrictPayloadConverter().with_context(context).from_payloads([await sealed()])
