"""Support cases by the unmodified SDKs, boto3 and google-cloud-support, against stand-ins of the vendors on this machine."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from failover.communications import Channel, Delivery, Incident, News, Stage
from failover.config.communications import AwsSupport, ChannelName, GoogleSupport
from failover.errors import ChannelFailed
from failover.incident import Outcome
from gateway.process import listening
from providers.aws_support import AwsSupportChannel
from providers.google_support import GoogleSupportChannel

NOW = datetime(2026, 1, 31, 3, 0, tzinfo=UTC)
SHORT = timedelta(seconds=5)

INCIDENT = Incident(
    workflow_id="failover/bedrock",
    run_id="r1",
    procedure="ImmediateFailover",
    subject="bedrock",
    text="bedrock answers 503",
    at=NOW,
    providers=["bedrock"],
    cause="3 x 503",
    models={"bedrock": "model m in us-east-1", "google": "model g"},
)
ANOTHER = replace(INCIDENT, workflow_id="emergency", run_id="r2")
DRILL = replace(INCIDENT, run_id="r3", is_drill=True)


def said(stage: Stage, number: int, incident: Incident = INCIDENT, reference: str = "", **more: Any) -> Delivery:
    told = News(stage=stage, text=f"{stage.value} now", at=NOW, number=number, **more)
    return Delivery(
        channel=ChannelName.AWS_SUPPORT, incident=incident, news=told, reference=reference, providers=["bedrock"]
    )


OPENED = said(Stage.OPENED, 1)


def done(reference: str, incident: Incident = INCIDENT) -> Delivery:
    return said(Stage.CLOSED, 3, incident, reference, outcome=Outcome.COMPLETED)


# AWS


@dataclass
class Aws:
    """AWS Support's JSON 1.1, as far as we speak it. Its lists come one by one, so that pages are turned."""

    cases: dict[str, dict[str, Any]] = field(default_factory=dict)
    said: dict[str, list[str]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    refuse: tuple[int, str, str] | None = None

    async def call(self, request: Request) -> Response:
        operation = request.headers["x-amz-target"].removeprefix("AWSSupport_20130415.")
        assert "AWS4-HMAC-SHA256" in request.headers["authorization"]
        self.calls.append(operation)
        if self.refuse is not None:
            status, code, message = self.refuse
            return JSONResponse({"__type": code, "message": message}, status_code=status)
        return JSONResponse(getattr(self, operation)(json.loads(await request.body())))

    def CreateCase(self, asked: dict[str, Any]) -> Any:
        case = f"case-{len(self.cases) + 1}"
        self.cases[case] = {**asked, "caseId": case, "status": "opened"}
        self.said[case] = [asked["communicationBody"]]
        return {"caseId": case}

    def DescribeCases(self, asked: dict[str, Any]) -> Any:
        assert asked["includeResolvedCases"] is False
        unresolved = [one for one in self.cases.values() if one["status"] != "resolved"]
        return _page("cases", [{"caseId": one["caseId"], "subject": one["subject"]} for one in unresolved], asked)

    def DescribeCommunications(self, asked: dict[str, Any]) -> Any:
        return _page("communications", [{"body": body} for body in self.said[asked["caseId"]]], asked)

    def AddCommunicationToCase(self, asked: dict[str, Any]) -> Any:
        self.said[asked["caseId"]].append(asked["communicationBody"])
        return {"result": True}

    def ResolveCase(self, asked: dict[str, Any]) -> Any:
        self.cases[asked["caseId"]]["status"] = "resolved"
        return {"finalCaseStatus": "resolved"}

    def DescribeServices(self, asked: dict[str, Any]) -> Any:
        known = {"code": "bedrock", "categories": [{"code": "service-unavailable"}]}
        return {"services": [known] if asked["serviceCodeList"] == ["bedrock"] else []}

    def DescribeSeverityLevels(self, asked: dict[str, Any]) -> Any:
        return {"severityLevels": [{"code": "low"}, {"code": "critical"}]}


def _page(name: str, everything: list[Any], asked: dict[str, Any]) -> dict[str, Any]:
    at = int(asked.get("nextToken") or 0)
    more = {"nextToken": str(at + 1)} if at + 1 < len(everything) else {}
    return {name: everything[at : at + 1], **more}


@asynccontextmanager
async def aws_channel(aws: Aws, **settings: Any) -> AsyncIterator[AwsSupportChannel]:
    app = Starlette(routes=[Route("/", aws.call, methods=["POST"])])
    async with listening(app, "127.0.0.1", 0) as url:
        wanted = AwsSupport.model_validate({"open": "act", "url": url, **settings})
        channel = AwsSupportChannel(wanted, timeout=SHORT, credentials=("key", "very-secret"))
        yield channel
        await channel.aclose()


async def test_a_case_at_aws_is_the_runbooks_and_gets_a_word_at_the_end() -> None:
    aws = Aws()
    async with aws_channel(aws) as channel:
        case = await channel.deliver(OPENED)
        assert await channel.deliver(done(case)) == case == "case-1"
        await channel.deliver(done(case))
    made = aws.cases["case-1"]
    assert {name: made[name] for name in ("subject", "serviceCode", "severityCode", "categoryCode")} == {
        "subject": "Critical: Bedrock Service Unavailable",
        "serviceCode": "bedrock",
        "severityCode": "critical",
        "categoryCode": "service-unavailable",
    }
    assert made["communicationBody"].startswith("Production AI service experiencing complete Bedrock outage")
    assert "Seen: 3 x 503\nbedrock: model m in us-east-1" in made["communicationBody"]
    assert "google" not in "".join(aws.said["case-1"]) and "answers 503" not in "".join(aws.said["case-1"])
    assert len(aws.said["case-1"]) == 2, "the end is said once, however often it is delivered"
    assert made["status"] == "opened"


async def test_an_attempt_that_died_after_creating_it_creates_no_second_case() -> None:
    """Found by its mark, behind other cases and pages."""
    aws = Aws()
    async with aws_channel(aws) as channel:
        aws.CreateCase({"subject": "Critical: Bedrock Service Unavailable", "communicationBody": "somebody's own"})
        aws.CreateCase({"subject": "Something else", "communicationBody": "x"})
        first = await channel.deliver(OPENED)
        assert await channel.deliver(OPENED) == first == "case-3"
    assert len(aws.cases) == 3 and len(aws.said["case-3"]) == 1


async def test_an_outage_that_has_two_runs_is_one_case() -> None:
    """The emergency that follows a failover joins its case, and says so once."""
    aws = Aws()
    async with aws_channel(aws) as channel:
        first = await channel.deliver(OPENED)
        joined = said(Stage.OPENED, 1, ANOTHER)
        assert await channel.deliver(joined) == first
        assert await channel.deliver(joined) == first
    assert len(aws.cases) == 1 and len(aws.said[first]) == 2


async def test_a_case_is_resolved_where_the_configuration_says_so_and_service_is_good() -> None:
    aws = Aws()
    async with aws_channel(aws, at_end="resolve") as channel:
        case = await channel.deliver(OPENED)
        await channel.deliver(said(Stage.CLOSED, 2, reference=case, outcome=Outcome.NEEDS_HUMAN))
        assert aws.cases[case]["status"] == "opened"
        await channel.deliver(done(case))
        assert aws.cases[case]["status"] == "resolved"


async def test_a_drills_case_says_so_and_wakes_nobody() -> None:
    aws = Aws()
    async with aws_channel(aws) as channel:
        real = await channel.deliver(OPENED)
        assert await channel.deliver(said(Stage.OPENED, 1, DRILL)) != real, "a drill never joins a real case"
    drill = aws.cases["case-2"]
    assert drill["subject"].startswith("TEST CASE") and drill["severityCode"] == "low"
    assert drill["communicationBody"].startswith("Nothing is broken")


@pytest.mark.parametrize(
    ("refusal", "permanent", "words"),
    [
        ((400, "SubscriptionRequiredException", "Premium Support is required"), True, "needs a paid support plan"),
        ((400, "CaseCreationLimitExceeded", "no more"), True, "as many open cases as it may have"),
        ((400, "AccessDeniedException", "not authorized"), True, "allow support:CreateCase"),
        ((400, "ThrottlingException", "Rate exceeded"), False, "cannot answer now: ThrottlingException"),
        ((500, "InternalServerError", "oops"), False, "cannot answer now: InternalServerError"),
    ],
)
async def test_what_aws_refuses_is_explained(refusal: tuple[int, str, str], permanent: bool, words: str) -> None:
    aws = Aws(refuse=refusal)
    async with aws_channel(aws) as channel:
        with pytest.raises(ChannelFailed, match=words) as failed:
            await channel.deliver(OPENED)
    assert failed.value.permanent is permanent and "very-secret" not in str(failed.value)
    assert len(aws.calls) == 1, "retries are Temporal's"


async def test_the_codes_are_checked_without_opening_anything() -> None:
    aws = Aws()
    async with aws_channel(aws) as channel:
        assert "are known" in await channel.check()
    async with aws_channel(aws, service_code="bedrok") as channel:
        with pytest.raises(ChannelFailed, match="no service code 'bedrok'"):
            await channel.check()
    assert not aws.cases


async def test_an_aws_that_is_not_there_is_tried_again() -> None:
    settings = AwsSupport.model_validate({"open": "act", "url": "http://127.0.0.1:1"})
    channel: Channel = AwsSupportChannel(settings, timeout=SHORT, credentials=("key", "secret"))
    with pytest.raises(ChannelFailed, match="does not answer: EndpointConnectionError") as failed:
        await channel.deliver(OPENED)
    assert not failed.value.permanent


# Google


@dataclass
class Google:
    """Google Cloud Support's REST, as far as we speak it."""

    cases: dict[str, dict[str, Any]] = field(default_factory=dict)
    comments: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    refuse: tuple[int, dict[str, str]] | None = None

    async def call(self, request: Request) -> Response:
        assert request.headers["authorization"] == "Bearer very-secret"
        if self.refuse is not None:
            status, headers = self.refuse
            error = {"error": {"code": status, "message": "no", "status": "X"}}
            return JSONResponse(error, status_code=status, headers=headers)
        path, body = request.url.path.removeprefix("/v2/"), await request.body()
        return JSONResponse(self._answer(request.method, path, json.loads(body) if body else {}, request))

    def _answer(self, method: str, path: str, said: dict[str, Any], request: Request) -> Any:
        if path == "caseClassifications:search":
            assert request.query_params["query"] == 'display_name:"*Vertex AI*"'
            return {"caseClassifications": [{"id": "class-1", "displayName": "Vertex AI > Outage"}]}
        if path == "projects/p1/cases" and method == "POST":
            name = f"projects/p1/cases/{len(self.cases) + 1}"
            self.cases[name] = {**said, "name": name, "state": 1}
            self.comments[name] = []
            return self.cases[name]
        if path == "projects/p1/cases":
            assert request.query_params["filter"] == "state=OPEN"
            return {"cases": [one for one in self.cases.values() if one["state"] == 1]}
        if path.endswith(":close"):
            self.cases[path.removesuffix(":close")]["state"] = 5
            return self.cases[path.removesuffix(":close")]
        if path.endswith("/comments"):
            return self._comments(method, path.removesuffix("/comments"), said)
        return self.cases[path]

    def _comments(self, method: str, case: str, said: dict[str, Any]) -> Any:
        if method == "POST":
            self.comments[case].append(said)
            return said
        return {"comments": self.comments[case]}


@asynccontextmanager
async def google_channel(google: Google, **settings: Any) -> AsyncIterator[GoogleSupportChannel]:
    app = Starlette(routes=[Route("/{path:path}", google.call, methods=["GET", "POST"])])
    async with listening(app, "127.0.0.1", 0) as url:
        wanted = GoogleSupport.model_validate({"open": "act", "url": url, **settings})
        channel = GoogleSupportChannel(wanted, "p1", timeout=SHORT, token="very-secret")
        yield channel
        await channel.aclose()


async def test_a_case_at_google_is_the_runbooks_found_again_and_closed() -> None:
    """P1, classified by its words; a repeated attempt makes no second one, an end is said once."""
    google = Google()
    async with google_channel(google, at_end="resolve") as channel:
        case = await channel.deliver(OPENED)
        assert await channel.deliver(OPENED) == case == "projects/p1/cases/1"
        await channel.deliver(said(Stage.CLOSED, 2, reference=case, outcome=Outcome.ABORTED))
        assert google.cases[case]["state"] == 1
        await channel.deliver(done(case))
        await channel.deliver(done(case))
    made = google.cases[case]
    assert (made["displayName"], made["priority"], made["classification"], made.get("testCase", False)) == (
        "Critical: Vertex AI Service Unavailable",
        2,
        {"id": "class-1"},
        False,
    )
    assert made["description"].startswith("Production AI service experiencing Vertex AI outage")
    assert len(google.cases) == 1 and len(google.comments[case]) == 2 and made["state"] == 5


async def test_two_runs_about_one_outage_share_a_case_at_google_and_a_drill_has_its_own() -> None:
    google = Google()
    async with google_channel(google) as channel:
        first = await channel.deliver(OPENED)
        assert await channel.deliver(said(Stage.OPENED, 1, ANOTHER)) == first
        assert await channel.deliver(said(Stage.OPENED, 1, ANOTHER)) == first
        drill = await channel.deliver(said(Stage.OPENED, 1, DRILL))
    assert len(google.comments[first]) == 1
    assert google.cases[drill]["testCase"] is True


@pytest.mark.parametrize(
    ("refusal", "permanent", "wait", "words"),
    [
        ((403, {}), True, None, "roles/cloudsupport.techSupportEditor"),
        ((404, {}), True, None, "communications.support.google.project"),
        ((401, {}), True, None, "Google credentials"),
        ((429, {"Retry-After": "9"}), False, 9, "cannot answer now: 429"),
        ((503, {}), False, None, "cannot answer now: 503"),
    ],
)
async def test_what_google_refuses_is_explained(
    refusal: tuple[int, dict[str, str]], permanent: bool, wait: int | None, words: str
) -> None:
    async with google_channel(Google(refuse=refusal)) as channel:
        with pytest.raises(ChannelFailed, match=words) as failed:
            await channel.deliver(OPENED)
    assert failed.value.permanent is permanent
    assert failed.value.wait == (timedelta(seconds=wait) if wait else None)


async def test_googles_side_is_checked_without_opening_anything() -> None:
    google = Google()
    async with google_channel(google) as channel:
        assert "may be looked at" in await channel.check()
    assert not google.cases
