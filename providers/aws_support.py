"""Cases at AWS Support by boto3. The API knows no idempotency token: a case is looked for by our mark before it is created."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import boto3
import botocore.exceptions as boto
from botocore.config import Config as BotoConfig

from failover.communications import MARK, Delivery, Stage, case_body, case_note, case_subject, is_solved, note_mark
from failover.config.communications import AwsSupport
from failover.errors import ChannelFailed
from providers.threads import Threads

CALLS = 5
"""The most calls of one delivery, each with a timeout of its own."""

REMEDIES: Mapping[str, str] = {
    "SubscriptionRequiredException": (
        "the Support API needs a paid support plan (Business Support+ or higher) on this account: open the case in the "
        "console, or set communications.support.aws.open to off"
    ),
    "CaseCreationLimitExceeded": "the account has as many open cases as it may have: resolve one in the console",
    "AccessDeniedException": (
        "allow support:CreateCase, support:DescribeCases, support:DescribeCommunications, support:DescribeServices, "
        "support:AddCommunicationToCase and support:ResolveCase"
    ),
    "ValidationException": (
        "compare communications.support.aws with `aws support describe-services` and `describe-severity-levels`"
    ),
    "InvalidParameterValueException": (
        "compare communications.support.aws with `aws support describe-services` and `describe-severity-levels`"
    ),
    "UnrecognizedClientException": "see to the workers' AWS credentials",
    "InvalidClientTokenId": "see to the workers' AWS credentials",
    "InvalidSignatureException": "see to the workers' AWS credentials",
    "ExpiredTokenException": "renew the workers' AWS credentials",
}
"""What a person can do about what trying again will not heal."""


class AwsSupportChannel:
    """Cases of one account. `credentials`: of tests; None: the SDK finds them."""

    def __init__(self, settings: AwsSupport, *, timeout: timedelta, credentials: tuple[str, str] | None = None) -> None:
        self._settings, self._timeout, self._credentials = settings, timeout, credentials
        self._threads = Threads("aws-support", size=4)
        self._client: Any = None

    async def deliver(self, delivery: Delivery) -> str:
        return await self._call(lambda: self._deliver(delivery))

    async def check(self) -> str:
        return await self._call(self._check)

    async def aclose(self) -> None:
        self._threads.close()

    async def _call(self, work: Any) -> str:
        try:
            return str(await self._threads.call(work, CALLS * self._timeout))
        except (boto.BotoCoreError, boto.ClientError, TimeoutError) as error:
            raise explained(error) from error

    def _deliver(self, delivery: Delivery) -> str:
        case = delivery.reference or self._find(delivery)
        if not case:
            return self._create(delivery)
        if not self._is_noted(case, delivery):
            self._support().add_communication_to_case(caseId=case, communicationBody=case_note(delivery))
        if is_solved(delivery, self._settings.at_end):
            self._support().resolve_case(caseId=case)
        return case

    def _create(self, delivery: Delivery) -> str:
        settings = self._settings
        answer = self._support().create_case(
            subject=case_subject(settings.subject, delivery.incident),
            serviceCode=settings.service_code,
            # AWS has no flag for a test: its subject says so, and it wakes nobody.
            severityCode="low" if delivery.incident.flag else settings.severity_code,
            categoryCode=settings.category_code,
            communicationBody=case_body(settings.body, delivery),
            ccEmailAddresses=list(settings.cc),
            language=settings.language,
            issueType="technical",
        )
        if not answer.get("caseId"):
            raise ChannelFailed("AWS Support answered in a form that is not known: no id of the case.")
        return str(answer["caseId"])

    def _find(self, delivery: Delivery) -> str:
        """The case of this incident, else an open one of ours about the same: an outage that has two runs is one case."""
        subject, another = case_subject(self._settings.subject, delivery.incident), ""
        pages = self._support().get_paginator("describe_cases")
        for page in pages.paginate(includeResolvedCases=False, includeCommunications=False):
            for case in page.get("cases", []):
                if case.get("subject") != subject:
                    continue
                bodies = list(self._bodies(case["caseId"]))
                if any(delivery.incident.mark in body for body in bodies):
                    return str(case["caseId"])
                if any(MARK in body for body in bodies):
                    another = str(case["caseId"])
        return another

    def _bodies(self, case: str) -> Iterator[str]:
        for page in self._support().get_paginator("describe_communications").paginate(caseId=case):
            for one in page.get("communications", []):
                yield str(one.get("body", ""))

    def _is_noted(self, case: str, delivery: Delivery) -> bool:
        """Whether an attempt before this one said it; a case that is created says how it began in its first words."""
        mark = delivery.incident.mark if delivery.news.stage is Stage.OPENED else note_mark(delivery)
        return any(mark in body for body in self._bodies(case))

    def _check(self) -> str:
        settings = self._settings
        services = self._support().describe_services(serviceCodeList=[settings.service_code]).get("services", [])
        codes = [one["code"] for service in services for one in service.get("categories", [])]
        levels = [one["code"] for one in self._support().describe_severity_levels().get("severityLevels", [])]
        problems = [
            *([] if services else [f"no service code {settings.service_code!r}"]),
            *([] if not services or settings.category_code in codes else [f"no category {settings.category_code!r}"]),
            *([] if settings.severity_code in levels else [f"no severity {settings.severity_code!r} for this account"]),
        ]
        if problems:
            why = f"AWS Support knows {' and '.join(problems)}; {REMEDIES['ValidationException']}."
            raise ChannelFailed(why, permanent=True)
        return f"AWS Support: cases may be looked at, and {settings.service_code} and its codes are known"

    def _support(self) -> Any:
        if self._client is None:
            key, secret = self._credentials or (None, None)
            seconds = self._timeout.total_seconds()
            self._client = boto3.client(
                "support",
                region_name=self._settings.region,
                endpoint_url=self._settings.url,
                aws_access_key_id=key,
                aws_secret_access_key=secret,
                config=BotoConfig(connect_timeout=seconds, read_timeout=seconds, retries={"total_max_attempts": 1}),
            )
        return self._client


def explained(error: Exception) -> ChannelFailed:
    """What went wrong, whether trying again can help, and what a person can do."""
    if isinstance(error, boto.ClientError):
        return _refused(error)
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError | boto.ProfileNotFound):
        return ChannelFailed("AWS Support was not asked: no AWS credentials were found.", permanent=True)
    if isinstance(error, boto.ParamValidationError):
        said = "AWS Support was not asked: boto3 refuses the case; see to communications.support.aws."
        return ChannelFailed(said, permanent=True)
    return ChannelFailed(f"AWS Support does not answer: {type(error).__name__}.")


def _refused(error: boto.ClientError) -> ChannelFailed:
    code = str(error.response.get("Error", {}).get("Code", "unknown"))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400))
    if (remedy := REMEDIES.get(code)) is not None:
        return ChannelFailed(f"AWS Support refused: {code}; {remedy}.", permanent=True)
    if status >= 500 or status == 429 or "Throttl" in code:
        return ChannelFailed(f"AWS Support cannot answer now: {code}.")
    message = " ".join(str(error.response.get("Error", {}).get("Message", "")).split())[:200].rstrip(".")
    return ChannelFailed(f"AWS Support refused: {code}{f', {message}' if message else ''}.", permanent=True)
