"""The console as an application of its own, mounted at /console: pages to look at, and forms that give orders."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import structlog
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from failover.errors import BadInput, Unavailable
from failover.kpis import binds, measure
from failover.reports.html import html
from failover.reports.markdown import markdown
from failover.reports.rates import success_rates
from starter.console.entrance import HOME, Entrance, LoginNeeded, login_redirect
from starter.console.ordering import Ordering
from starter.console.pages import Page, Pages
from starter.console.pictures import drills, incident, passed, trends
from starter.console.runs import Runs
from starter.console.seeing import Seeing, Sources
from starter.console.sessions import SAID, Sessions, Signer
from starter.console.starting import StartPages
from starter.console.streams import Streams
from starter.webhooks.answers import RETRY_AFTER, Refused
from starter.webhooks.guard import Guard
from starter.webhooks.runs_door import Driver
from starter.webhooks.starts_door import Starting

log = structlog.get_logger("console")

MOST_STREAMS = 100

LISTED = 200
"""Incidents in a list and in its pictures; rates are of all that there are."""

PERIODS: Mapping[str, timedelta | None] = {
    "24h": timedelta(days=1),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "all": None,
}

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; frame-ancestors 'none'"
"""The policy of reports, which carry their own style: nothing in them runs, and nothing of ours is within their reach."""


class Headed:
    """What every answer of the console says to the browser; an answer's own word goes before."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, headed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """The server's own: the console orders and starts through them, as every other door."""

    guard: Guard
    driver: Driver
    starting: Starting


class Console:
    """`app` is what is mounted; `close` ends the pages that are being watched."""

    def __init__(self, sources: Sources, doors: Doors, secret: str | None) -> None:
        config = sources.config
        signer = Signer(secret)
        self._pages = Pages(config)
        self._sessions = Sessions(doors.guard, signer, config.console.session)
        self._entrance = entrance = Entrance(doors.guard, self._sessions, signer, self._pages)
        self._seeing = Seeing(sources)
        self._incidents = sources.incidents
        self._readiness = sources.readiness
        self._runs = Runs(sources.temporal)
        self._streams = Streams(MOST_STREAMS)
        self._refresh = config.console.refresh.total_seconds()
        self._targets = config.kpis.success_rates
        ordering = Ordering(
            doors.guard, doors.driver, sources.temporal, entrance, self._pages, self._runs, self._seeing
        )
        starts = StartPages(config, doors.guard, doors.starting, entrance, self._pages, self._runs, self._seeing)
        self.app = Headed(
            Starlette(
                routes=[
                    Route("/", self._now),
                    Route("/events", self._events),
                    Route("/run", self._run),
                    Route("/run/events", self._run_events),
                    Route("/order", ordering.page, methods=["GET"]),
                    Route("/order", ordering.post, methods=["POST"]),
                    Route("/start", starts.page, methods=["GET"]),
                    Route("/plan", starts.plan, methods=["POST"]),
                    Route("/start", starts.post, methods=["POST"]),
                    Route("/past", self._past),
                    Route("/ready", self._ready),
                    Route("/incident", self._incident),
                    Route("/incident/report", self._report),
                    Route("/login", entrance.login_page, methods=["GET"]),
                    Route("/login", entrance.login, methods=["POST"]),
                    Route("/logout", entrance.logout, methods=["POST"]),
                    Mount("/static", StaticFiles(directory=Path(__file__).with_name("static"))),
                ],
                exception_handlers=cast(Any, self._handlers()),
            )
        )

    def close(self, _: timedelta) -> None:
        self._streams.close()

    async def _now(self, request: Request) -> Response:
        page = self._entrance.page(request)
        parts = self._pages.now_parts(page, await self._seeing.look(fresh=True))
        return self._told(self._pages.respond("now.html", page, parts=parts, active="now"), page)

    async def _run(self, request: Request) -> Response:
        page = self._entrance.page(request)
        run, outcome = await self._runs.find(request.query_params.get("id", ""))
        parts = self._pages.run_parts(page, run, outcome)
        return self._told(
            self._pages.respond("run.html", page, parts=parts, run=run.workflow_id, over=bool(outcome), active=""), page
        )

    async def _events(self, request: Request) -> Response:
        async def look(page: Page) -> Mapping[str, str]:
            return self._pages.now_parts(page, await self._seeing.look())

        return self._stream(request, look)

    async def _run_events(self, request: Request) -> Response:
        id_ = request.query_params.get("id", "")

        async def look(page: Page) -> Mapping[str, str]:
            return self._pages.run_parts(page, *await self._runs.find(id_))

        return self._stream(request, look)

    def _stream(self, request: Request, look: Callable[[Page], Awaitable[Mapping[str, str]]]) -> Response:
        self._entrance.session(request)
        self._streams.refuse_if_full()
        key = request.query_params.get("key", "")[:32]

        async def known() -> Mapping[str, str] | None:
            session = self._entrance.known(request)
            return None if session is None else await look(Page(session=session, key=key))

        events = self._streams.parts(known, self._refresh)
        return StreamingResponse(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    async def _past(self, request: Request) -> Response:
        page = self._entrance.page(request)
        period = request.query_params.get("period", "30d")
        length = PERIODS.get(period, PERIODS["30d"])
        chosen = await self._incidents.all(None if length is None else datetime.now(UTC) - length)
        return self._pages.respond(
            "past.html",
            page,
            active="past",
            periods=list(PERIODS),
            period=period if period in PERIODS else "30d",
            incidents=[incident(*one) for one in chosen[:LISTED]],
            known=len(chosen),
            trends=trends(chosen[:LISTED]),
            rates=success_rates((record for _, record in chosen), self._targets),
            evidence_known=self._incidents.known,
        )

    async def _ready(self, request: Request) -> Response:
        page = self._entrance.page(request)
        held = drills(await self._incidents.all())
        return self._pages.respond(
            "ready.html",
            page,
            active="ready",
            sheet_known=self._readiness is not None,
            sheet=await asyncio.to_thread(self._readiness) if self._readiness else None,
            drills=held[:LISTED],
            passed=passed(held),
        )

    async def _incident(self, request: Request) -> Response:
        page = self._entrance.page(request)
        name = request.query_params.get("name", "")
        record = await self._incidents.one(name)
        return self._pages.respond(
            "incident.html",
            page,
            active="past",
            one=incident(name, record),
            fillings=self._pages.fillings,
            kpis=measure(record) if binds(record) else [],
            html_reports=await self._incidents.pages(name),
        )

    async def _report(self, request: Request) -> Response:
        """Send the report, made anew, as a page or (`form=md`) as Markdown; or a file of HTML that lies beside the record."""
        self._entrance.session(request)
        name, wanted = request.query_params.get("name", ""), request.query_params.get("file")
        if wanted is not None:
            file = await self._incidents.page(name, wanted)
            if file is None:
                raise Refused(404, "There is no such report of this incident.")
            return _page_of_report(file)
        report = await self._incidents.report(name)
        if request.query_params.get("form") == "md":
            headers = {"Content-Disposition": f'attachment; filename="{report.file_name}.md"'}
            return PlainTextResponse(markdown(report), headers=headers, media_type="text/markdown")
        return _page_of_report(html(report).encode())

    def _told(self, response: Response, page: Page) -> Response:
        """What was to be said is said once."""
        if page.said is not None:
            response.delete_cookie(SAID, path="/console")
        return response

    def _handlers(self) -> Mapping[Any, Any]:
        async def refused(request: Request, error: Refused) -> Response:
            return self._wrong(request, error.status, str(error), error.headers)

        async def unavailable(request: Request, error: Unavailable) -> Response:
            return self._wrong(request, 503, str(error), {"Retry-After": RETRY_AFTER})

        async def unknown(request: Request, error: BadInput) -> Response:
            return self._wrong(request, 404, str(error))

        async def nowhere(request: Request, error: HTTPException) -> Response:
            sentence = "There is no such page." if error.status_code == 404 else f"{error.detail}."
            return self._wrong(request, error.status_code, sentence)

        async def broken(request: Request, _: Exception) -> Response:
            """Answer for a mistake of our own, which the server logs; nothing of it is told outside."""
            return self._wrong(request, 500, "The console broke over this; the server's log says how.")

        return {
            LoginNeeded: self._login_needed,
            Refused: refused,
            Unavailable: unavailable,
            BadInput: unknown,
            HTTPException: nowhere,
            500: broken,
        }

    async def _login_needed(self, request: Request, error: LoginNeeded) -> Response:
        if request.url.path.endswith("/events"):
            # A stream cannot show a page: the script says that the page is no longer live.
            return PlainTextResponse("Log in first.", status_code=401)
        if request.method == "GET":
            return login_redirect(error)
        return self._pages.respond("login.html", status=401, back=HOME, problem="Log in first. Nothing was done.")

    def _wrong(
        self, request: Request, status: int, sentence: str, headers: Mapping[str, str] | None = None
    ) -> Response:
        session = self._entrance.known(request)
        page = Page(session=session) if session else None
        response = self._pages.respond("wrong.html", page, status=status, sentence=sentence, active="")
        response.headers.update(dict(headers or {}))
        return response


def _page_of_report(content: bytes) -> Response:
    return Response(content, media_type="text/html", headers={"Content-Security-Policy": REPORT_POLICY})
