"""AES-256-GCM over whole payloads, with several keys: the first encrypts, all decrypt."""

import secrets
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

from starter.settings import CodecKey
from workflows.payloads import ENCRYPTED, KEY_ID, PROBLEM

NONCE_BYTES = 12


class AesGcm(PayloadCodec):
    """Encrypts every payload with the first key. What was not encrypted is read as it is: people type plain JSON.

    Nothing is raised for what cannot be decrypted: within a workflow's task that would be retried for ever. It is left sealed,
    with the reason beside it, and the converter refuses it as malformed.
    """

    def __init__(self, keys: Sequence[CodecKey]) -> None:
        self._current = keys[0].id
        self._keys = {key.id: AESGCM(key.secret) for key in keys}

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._encrypted(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._decrypted(payload) if _is_encrypted(payload) else payload for payload in payloads]

    def _encrypted(self, payload: Payload) -> Payload:
        nonce, key_id = secrets.token_bytes(NONCE_BYTES), self._current.encode()
        sealed = self._keys[self._current].encrypt(nonce, payload.SerializeToString(), key_id)
        return Payload(metadata={"encoding": ENCRYPTED.encode(), KEY_ID: key_id}, data=nonce + sealed)

    def _decrypted(self, payload: Payload) -> Payload:
        key_id = payload.metadata.get(KEY_ID, b"")
        key = self._keys.get(key_id.decode(errors="replace"))
        if key is None:
            return _left(payload, "it is encrypted with a key that is not configured here (FAILOVER_CODEC_KEYS)")
        try:
            plain = key.decrypt(payload.data[:NONCE_BYTES], payload.data[NONCE_BYTES:], key_id)
            return Payload.FromString(plain)
        except (InvalidTag, ValueError, DecodeError):
            return _left(payload, "it was encrypted with another key of the same id, or was changed since")


def _is_encrypted(payload: Payload) -> bool:
    return payload.metadata.get("encoding") == ENCRYPTED.encode()


def _left(payload: Payload, why: str) -> Payload:
    return Payload(metadata={**payload.metadata, PROBLEM: why.encode()}, data=payload.data)
