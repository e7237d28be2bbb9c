"""The console's own door: who comes in, and that what they send was meant by them."""

from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote, urlsplit

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from failover.roles import Act
from starter.console.pages import Page, Pages
from starter.console.sessions import COOKIE, SAID, Session, Sessions, Signer
from starter.webhooks.answers import Refused, read_body
from starter.webhooks.guard import Guard

log = structlog.get_logger("console")

HOME = "/console/"
MOST_BYTES = 64 * 1024
MOST_FIELDS = 100


class LoginNeeded(Exception):
    """The visitor is nobody whom we know; `back` is where they wanted to go."""

    def __init__(self, back: str) -> None:
        super().__init__("Log in first.")
        self.back = back


class Entrance:
    """Logging in and out, and the session of every request."""

    def __init__(self, guard: Guard, sessions: Sessions, signer: Signer, pages: Pages) -> None:
        self._guard = guard
        self._sessions = sessions
        self._signer = signer
        self._pages = pages

    def session(self, request: Request) -> Session:
        """The session of whoever asks and may look, by cookie or by the trusted proxy's word. LoginNeeded without one."""
        session = self.known(request)
        if session is None:
            raise LoginNeeded(_back(request))
        self._guard.allow(session.person, Act.LOOK)
        return session

    def known(self, request: Request) -> Session | None:
        session = self._sessions.find(request.cookies.get(COOKIE), datetime.now(UTC))
        if session is None and (person := self._guard.by_proxy(request)) is not None:
            session = self._sessions.of_proxy(person)
        return session

    def page(self, request: Request) -> Page:
        return Page(session=self.session(request), said=self._signer.read("said", request.cookies.get(SAID)))

    async def form(self, request: Request) -> tuple[Session, dict[str, str]]:
        """The session that sends a form, and its fields. Refused: 403 if another page, or nobody's page, made it."""
        refuse_foreign(request)
        session = self.session(request)
        fields = await fields_of(request)
        if not self._sessions.proved(session, fields.pop("proof", "")):
            raise Refused(
                403, "This form is out of date, or is not one of ours. Nothing was done: go back and try again."
            )
        return session, fields

    async def login_page(self, request: Request) -> Response:
        back = _local(request.query_params.get("back", HOME))
        return self._pages.respond("login.html", back=back, problem="")

    async def login(self, request: Request) -> Response:
        refuse_foreign(request)
        fields = await fields_of(request)
        back, token = _local(fields.get("back", HOME)), fields.get("token", "").strip()
        cookie = self._sessions.begin(token, datetime.now(UTC)) if token else None
        if cookie is None:
            return self._refused_login(request, back)
        response = RedirectResponse(back, status_code=303)
        _keep(response, request, COOKIE, cookie, self._sessions.seconds)
        log.info("logged in", session=self._sessions_name(cookie))
        return response

    def _sessions_name(self, cookie: str) -> str:
        session = self._sessions.find(cookie, datetime.now(UTC))
        return session.person.name if session else ""

    def _refused_login(self, request: Request, back: str) -> Response:
        refusal = self._guard.refusal(
            request, "Nobody is known by this token. Copy it again, whole, and try once more."
        )
        headers = {name: value for name, value in refusal.headers.items() if name == "Retry-After"}
        response = self._pages.respond("login.html", status=refusal.status, back=back, problem=str(refusal))
        response.headers.update(headers)
        return response

    async def logout(self, request: Request) -> Response:
        session, _ = await self.form(request)
        self._sessions.end(session)
        response = RedirectResponse("/console/login", status_code=303)
        response.delete_cookie(COOKIE, path="/console")
        return response

    def redirect(self, request: Request, to: str, said: str, *, good: bool) -> Response:
        """Redirect to a page that tells what became of it: reloading that page repeats nothing."""
        response = RedirectResponse(to, status_code=303)
        _keep(response, request, SAID, self._signer.sign("said", {"text": said[:800], "good": good}), 60)
        return response


async def fields_of(request: Request) -> dict[str, str]:
    """The fields of an ordinary form; of one that comes twice the last."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Refused(415, "The console's forms are sent as application/x-www-form-urlencoded.")
    body = await read_body(request, MOST_BYTES)
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError as error:
        raise Refused(422, "The form cannot be read. Nothing was done.") from error


def refuse_foreign(request: Request) -> None:
    """What another site's page made a browser send. Browsers say so; the older ones by Origin alone."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    foreign = site not in ("same-origin", "none") if site else bool(origin) and _host(origin) != _own(request)
    if foreign:
        raise Refused(403, "This was sent by a page of another site. Nothing was done.")


def _host(origin: str | None) -> str:
    return urlsplit(origin or "").netloc.lower()


def _own(request: Request) -> str:
    return request.headers.get("host", "").lower()


def _keep(response: Response, request: Request, name: str, value: str, seconds: int) -> None:
    secure = request.url.scheme == "https" or request.headers.get("x-forwarded-proto", "").lower() == "https"
    response.set_cookie(name, value, max_age=seconds, path="/console", httponly=True, samesite="strict", secure=secure)


def _back(request: Request) -> str:
    """The page that a person wanted; only pages are gone back to."""
    if request.method != "GET" or request.url.path.endswith("/events"):
        return HOME
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def _local(back: str) -> str:
    """A path of the console, and nothing that leads elsewhere."""
    parts = urlsplit(back)
    ours = not parts.scheme and not parts.netloc and parts.path.startswith(HOME) and "\\" not in back
    return back if ours and back.isprintable() else HOME


def login_redirect(error: LoginNeeded) -> Response:
    return RedirectResponse(f"/console/login?back={quote(error.back, safe='')}", status_code=303)
