"""Cases at Google Cloud Support by google-cloud-support. A case is looked for by our mark before it is created."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import google.auth.exceptions
import requests.exceptions
from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import GoogleAPICallError
from google.cloud import support_v2
from google.oauth2.credentials import Credentials

from failover.communications import MARK, Delivery, Stage, case_body, case_note, case_subject, is_solved, note_mark
from failover.config.communications import GoogleSupport
from failover.errors import ChannelFailed
from providers.classification import retry_after
from providers.threads import Threads

CALLS = 5
"""The most calls of one delivery, each with a timeout of its own."""

REMEDIES = {
    400: "see to communications.support.google: its classification first",
    401: "see to the workers' Google credentials",
    403: (
        "enable cloudsupport.googleapis.com, give the workers roles/cloudsupport.techSupportEditor, and have a support plan "
        "that takes cases by API (Enhanced or Premium)"
    ),
    404: "see to communications.support.google.project",
}
"""What a person can do about what trying again will not heal."""


class GoogleSupportChannel:
    """Cases of one project. `token`: of tests; None: application default credentials."""

    def __init__(self, settings: GoogleSupport, project: str, *, timeout: timedelta, token: str | None = None) -> None:
        self._settings, self._project, self._timeout, self._token = settings, project, timeout, token
        self._options: dict[str, Any] = {"timeout": timeout.total_seconds(), "retry": None}
        self._threads = Threads("google-support", size=4)
        self._clients: dict[type, Any] = {}

    async def deliver(self, delivery: Delivery) -> str:
        return await self._call(lambda: self._deliver(delivery))

    async def check(self) -> str:
        return await self._call(self._check)

    async def aclose(self) -> None:
        self._threads.close()

    async def _call(self, work: Callable[[], str]) -> str:
        try:
            return await self._threads.call(work, CALLS * self._timeout)
        except (
            GoogleAPICallError,
            google.auth.exceptions.GoogleAuthError,
            requests.exceptions.RequestException,
            TimeoutError,
        ) as error:
            raise explained(error) from error

    def _deliver(self, delivery: Delivery) -> str:
        case = delivery.reference or self._find(delivery)
        if not case:
            return self._create(delivery)
        if not self._is_noted(case, delivery):
            note = support_v2.Comment(body=case_note(delivery))
            self._comments().create_comment(parent=case, comment=note, **self._options)
        if is_solved(delivery, self._settings.at_end):
            self._cases().close_case(request=support_v2.CloseCaseRequest(name=case), **self._options)
        return case

    def _create(self, delivery: Delivery) -> str:
        settings = self._settings
        wanted = support_v2.Case(
            display_name=case_subject(settings.subject, delivery.incident),
            description=case_body(settings.body, delivery),
            priority=getattr(support_v2.Case.Priority, settings.priority),
            classification=support_v2.CaseClassification(id=self._classification()),
            test_case=bool(delivery.incident.flag),
        )
        made = self._cases().create_case(parent=f"projects/{self._project}", case=wanted, **self._options)
        return str(made.name)

    def _classification(self) -> str:
        settings = self._settings
        if settings.classification_id is not None:
            return settings.classification_id
        asked = support_v2.SearchCaseClassificationsRequest(query=f'display_name:"*{settings.classification}*"')
        for found in self._cases().search_case_classifications(request=asked, **self._options):
            return str(found.id)
        why = f"Google Cloud Support has no classification like {settings.classification!r}"
        raise ChannelFailed(f"{why}; see to communications.support.google.classification.", permanent=True)

    def _find(self, delivery: Delivery) -> str:
        """The case of this incident, else an open one of ours about the same: an outage that has two runs is one case."""
        subject, another = case_subject(self._settings.subject, delivery.incident), ""
        for case in self._open():
            if case.display_name != subject:
                continue
            if any(delivery.incident.mark in text for text in self._texts(case.name, case.description)):
                return str(case.name)
            if MARK in case.description:
                another = str(case.name)
        return another

    def _open(self) -> Iterator[Any]:
        asked = support_v2.ListCasesRequest(parent=f"projects/{self._project}", filter="state=OPEN", page_size=100)
        yield from self._cases().list_cases(request=asked, **self._options)

    def _texts(self, case: str, description: str) -> Iterator[str]:
        yield description
        for comment in self._comments().list_comments(parent=case, **self._options):
            yield str(comment.body)

    def _is_noted(self, case: str, delivery: Delivery) -> bool:
        """Whether an attempt before this one said it; a case that is created says how it began in its description."""
        found = self._cases().get_case(name=case, **self._options)
        mark = delivery.incident.mark if delivery.news.stage is Stage.OPENED else note_mark(delivery)
        return any(mark in text for text in self._texts(case, found.description))

    def _check(self) -> str:
        next(iter(self._open()), None)
        return (
            f"Google Cloud Support: cases of {self._project} may be looked at; classification {self._classification()}"
        )

    def _cases(self) -> Any:
        return self._of(support_v2.CaseServiceClient)

    def _comments(self) -> Any:
        return self._of(support_v2.CommentServiceClient)

    def _of(self, service: Any) -> Any:
        if service not in self._clients:
            # Its own credentials are used where no token is given.
            credentials = Credentials(token=self._token) if self._token else None  # type: ignore[no-untyped-call]
            url = self._settings.url
            options = ClientOptions(api_endpoint=url) if url else None
            self._clients[service] = service(credentials=credentials, transport="rest", client_options=options)
        return self._clients[service]


def explained(error: Exception) -> ChannelFailed:
    """What went wrong, whether trying again can help, and what a person can do."""
    if isinstance(error, GoogleAPICallError):
        code = int(error.code or 500)
        if (remedy := REMEDIES.get(code)) is not None:
            return ChannelFailed(f"Google Cloud Support refused: {code}; {remedy}.", permanent=True)
        wait = retry_after(getattr(error.response, "headers", None) or {})
        return ChannelFailed(f"Google Cloud Support cannot answer now: {code}.", wait=wait)
    if isinstance(error, google.auth.exceptions.TransportError):
        return ChannelFailed("Google's sign-in does not answer.")
    if isinstance(error, google.auth.exceptions.GoogleAuthError):
        return ChannelFailed(f"Google Cloud Support was not asked: {REMEDIES[401]}.", permanent=True)
    return ChannelFailed(f"Google Cloud Support does not answer: {type(error).__name__}.")
