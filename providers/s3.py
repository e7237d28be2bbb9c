"""Evidence in an S3 bucket, beyond the life of any machine. boto3 is blocking: called from threads."""

from collections.abc import Sequence
from typing import Any

import boto3
import botocore.exceptions as boto
from botocore.config import Config as BotoConfig

from failover.config.evidence import Evidence
from failover.errors import Unavailable

MISSING = ("NoSuchKey", "404")


class S3Archive:
    """Keys below a prefix of one bucket. Credentials are AWS's own business, unless given."""

    def __init__(self, settings: Evidence, *, credentials: tuple[str, str] | None = None) -> None:
        assert settings.bucket is not None
        self._bucket, self._prefix = settings.bucket, f"{settings.prefix.strip('/')}/" if settings.prefix else ""
        self._settings, self._credentials = settings, credentials
        self._client: Any = None

    def put(self, key: str, content: bytes) -> None:
        self._call("put_object", Key=self._prefix + key, Body=content)

    def get(self, key: str) -> bytes | None:
        try:
            body = self._s3().get_object(Bucket=self._bucket, Key=self._prefix + key)["Body"]
            content: bytes = body.read()
        except boto.ClientError as error:
            if error.response.get("Error", {}).get("Code") in MISSING:
                return None
            raise self._unavailable(error) from error
        except boto.BotoCoreError as error:
            raise self._unavailable(error) from error
        return content

    def keys(self, *, folder: str = "*", after: str = "") -> Sequence[str]:
        prefix = self._prefix if folder == "*" else f"{self._prefix}{folder}/"
        try:
            pages = (
                self._s3()
                .get_paginator("list_objects_v2")
                .paginate(Bucket=self._bucket, Prefix=prefix, **({"StartAfter": self._prefix + after} if after else {}))
            )
            found = [content["Key"] for page in pages for content in page.get("Contents", [])]
        except (boto.ClientError, boto.BotoCoreError) as error:
            raise self._unavailable(error) from error
        return [key.removeprefix(self._prefix) for key in found]

    def where(self, key: str) -> str:
        return f"s3://{self._bucket}/{self._prefix}{key}"

    def _call(self, operation: str, **arguments: Any) -> Any:
        try:
            return getattr(self._s3(), operation)(Bucket=self._bucket, **arguments)
        except (boto.ClientError, boto.BotoCoreError) as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> Unavailable:
        code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
        return Unavailable(f"The bucket {self._bucket} cannot be used: {code or type(error).__name__}.")

    def _s3(self) -> Any:
        if self._client is None:
            keys = ("aws_access_key_id", "aws_secret_access_key")
            options = dict(zip(keys, self._credentials, strict=True)) if self._credentials else {}
            seconds = self._settings.timeout.total_seconds()
            # Temporal retries what writes; whoever reads is told at once.
            config = BotoConfig(
                connect_timeout=seconds, read_timeout=seconds, retries={"total_max_attempts": 1, "mode": "standard"}
            )
            make: Any = boto3.Session(region_name=self._settings.region).client
            self._client = make("s3", endpoint_url=self._settings.endpoint, config=config, **options)
        return self._client
