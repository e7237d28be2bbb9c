"""The console's doors, without a browser: who is let in, what is refused, what is promised in headers."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import CancelledError

from failover.incident import Moments, Outcome, RunRecord
from failover.policy import Change, ChangedBy
from failover.roles import hashed
from starter.console.readiness import Remark, Sheet, Target
from starter.console.sessions import COOKIE, Sessions, Signer
from starter.webhooks.guard import Guard
from tests.records import run_record
from tests.webhooks.conftest import API_TOKEN, MakeServer, Server
from tests.webhooks.console.conftest import OPERATORS, Scene, logged_in, proof_of, showing

NOW = datetime(2026, 1, 31, 3, 0, tzinfo=UTC)


@pytest.fixture
async def idle(make_server: MakeServer) -> AsyncIterator[Server]:
    """Serving, with nobody at work."""
    async with make_server(access={"operators": OPERATORS}, detection={"enabled": False}).serving() as server:
        yield server


async def test_nobody_sees_anything_before_the_login(idle: Server) -> None:
    """Pages lead to the login and back; streams and forms are refused; a look at / leads to the console."""
    for path in ("/console/", "/console/past?period=7d", "/console/run?id=x", "/console/incident/report?name=x"):
        asked = await idle.http.get(path)
        assert asked.status_code == 303
        assert asked.headers["location"].startswith("/console/login?back=%2Fconsole%2F")
    assert (await idle.http.get("/console/events")).status_code == 401
    posted = await idle.http.post("/console/order", data={"run": "x", "verb": "abort"})
    assert (posted.status_code, "Log in first" in posted.text) == (401, True)
    assert (await idle.http.get("/")).headers["location"] == "/console/"


async def test_every_answer_keeps_others_out_of_the_page(idle: Server) -> None:
    """No foreign script, no frame, no copy in a cache; refusals, files and what does not exist included."""
    for path in ("/console/", "/console/login", "/console/nothing", "/console/static/console.js"):
        headers = (await idle.http.get(path)).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


async def test_the_cookie_holds_no_secret_and_is_only_ours(idle: Server) -> None:
    """HttpOnly, SameSite=Strict, Secure where TLS ended before us; nothing of the token in it."""
    login = await idle.http.post("/console/login", data={"token": "olga's token", "back": "/console/past"})
    cookie = login.headers["set-cookie"]
    assert login.headers["location"] == "/console/past"
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "Path=/console" in cookie and "Secure" not in cookie
    assert "olga's token" not in cookie and hashed("olga's token").partition(":")[2] not in cookie
    behind = {"x-forwarded-proto": "https"}
    login = await idle.http.post("/console/login", data={"token": API_TOKEN}, headers=behind)
    assert "Secure" in login.headers["set-cookie"]


@pytest.mark.parametrize(
    "back",
    ["https://evil.example/", "//evil.example/console/", "/\\evil.example", "/runs", "/console/\nx", "javascript:x"],
)
async def test_the_login_leads_nowhere_else(idle: Server, back: str) -> None:
    login = await idle.http.post("/console/login", data={"token": "vera's token", "back": back})
    assert login.headers["location"] == "/console/"


async def test_a_wrong_token_is_told_and_slowed_down(make_server: MakeServer) -> None:
    """429 with Retry-After for whoever guesses; the right token is taken all the same."""
    server = make_server(access={"operators": OPERATORS}, webhooks={"refusals_per_minute": 3})
    async with server.serving():
        told = [await server.http.post("/console/login", data={"token": f"guess {n}"}) for n in range(5)]
        assert [one.status_code for one in told] == [401, 401, 401, 429, 429]
        assert "Nobody is known by this token" in told[0].text and "guess" not in told[0].text
        assert told[-1].headers["retry-after"]
        right = await server.http.post("/console/login", data={"token": "vera's token"})
        assert right.status_code == 303


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"sec-fetch-site": "same-origin"}, 404),
        ({"sec-fetch-site": "same-origin", "origin": "https://behind.a.proxy"}, 404),
        ({}, 404),
    ],
)
async def test_a_form_of_another_site_is_refused(idle: Server, headers: dict[str, str], status: int) -> None:
    """Even where it knew the proof; 404 is of the run, which there is none of."""
    async with logged_in(idle, "olga") as client:
        proof = proof_of((await client.get("/console/past")).text)
        form = {"content-type": "application/x-www-form-urlencoded"} | headers
        answer = await client.post("/console/order", content=f"proof={proof}&run=no/run&verb=pause", headers=form)
        assert answer.status_code == status, answer.text


async def test_a_form_without_our_proof_is_refused(scene: Scene) -> None:
    """Nor is another session's proof good, nor that of somebody else."""
    await scene.begin()
    order = {"run": scene.ramp, "verb": "pause"}
    async with (
        logged_in(scene.server, "olga") as client,
        logged_in(scene.server, "olga") as other,
        logged_in(scene.server, "stan") as stan,
    ):
        theirs = [proof_of((await one.get("/console/")).text) for one in (other, stan)]
        for proof in ("", "0" * 64, *theirs):
            answer = await client.post("/console/order", data=order | {"proof": proof})
            assert (answer.status_code, "Nothing was done" in answer.text) == (403, True)
        assert (await client.post("/console/logout", data={"proof": ""})).status_code == 403
    assert not any("pause" in text for text in await scene.server.said(scene.ramp))


async def test_only_what_a_role_allows_is_offered_and_obeyed(scene: Scene) -> None:
    """Who may not press the button that is needed is told who may."""
    asked = await scene.begin()
    offered = {
        "vera": [],
        "stan": ["pause", "abort"],
        "anna": ["approve", "reject", "abort"],
        "olga": ["approve", "reject", "pause", "escalate", "abort"],
    }
    verbs = ("approve", "reject", "pause", "escalate", "abort")
    for name, allowed in offered.items():
        async with logged_in(scene.server, name) as client:
            page = await showing(client, "approve step-1")
            shown = [verb for verb in verbs if f'value="{verb}"' in page or f"verb={verb}" in page]
            assert shown == allowed, name
            assert ('href="/console/start"' in page) is (name in ("stan", "olga"))
            assert ("Who may: anna, olga." in page) is (name in ("vera", "stan"))
            for verb in set(verbs) - set(allowed):
                order = {"run": scene.ramp, "verb": verb, "step": asked["step"], "digest": asked["digest"]}
                refused = await client.post("/console/order", data=order | {"proof": proof_of(page)})
                assert (refused.status_code, "may not" in refused.text) == (403, True), (name, verb)
                asked_first = await client.get("/console/order", params={"run": scene.ramp, "verb": verb})
                assert asked_first.status_code == 403
    async with logged_in(scene.server, "vera") as client:
        start = await client.post("/console/plan", data={"proof": proof_of((await client.get("/console/")).text)})
        assert start.status_code == 403
        assert (await client.get("/console/start")).status_code == 403


async def test_a_form_that_is_sent_twice_is_one_order(scene: Scene) -> None:
    """By the key that its page gave it; what the run refuses is said in its words, and the page is no error."""
    asked = await scene.begin()
    async with logged_in(scene.server, "olga") as client:
        form = {"run": scene.ramp, "proof": proof_of((await client.get("/console/")).text)}
        for key in ("one", "one", "two"):
            answer = await client.post("/console/order", data=form | {"verb": "pause", "key": key})
            assert answer.status_code == 303
        page = await client.get("/console/")
        assert "Refused: the run is paused already" in page.text
        assert 'class="said' in page.text
        assert 'class="said' not in (await client.get("/console/")).text, "it is said once"
        outdated = {"verb": "approve", "step": asked["step"], "digest": "another"}
        await client.post("/console/order", data=form | outdated)
        assert "another plan than the one approved" in (await client.get("/console/")).text
        unknown = await client.post("/console/order", data=form | {"verb": "explode"})
        assert (unknown.status_code, "no such order" in unknown.text) == (404, True)
        nowhere = await client.post("/console/order", data=form | {"run": "no/run", "verb": "pause"})
        assert nowhere.status_code == 404
    assert sum("olga, pause: Paused" in text for text in await scene.server.said(scene.ramp)) == 1


async def test_an_immediate_failover_can_be_aborted_too(scene: Scene) -> None:
    """It takes no orders: it is cancelled, and puts back what it found."""
    names = scene.server.names
    scene.server.plane.requests = 0
    run = await scene.server.client.start_workflow(
        "ImmediateFailover",
        {"failed_provider": names.bedrock},
        id=scene.server.failover,
        task_queue=scene.server.task_queue,
    )
    async with logged_in(scene.server, "stan") as client:
        form = {"run": run.id, "verb": "abort", "proof": proof_of((await client.get("/console/past")).text)}
        held = await client.post("/console/order", data=form | {"mode": "hold"})
        assert held.status_code == 303
        await client.post("/console/order", data=form | {"mode": "restore", "comment": "a drill"})
        assert "Aborting: what was found is put back" in (await client.get("/console/")).text
    with pytest.raises(WorkflowFailureError) as failed:
        await run.result()
    assert isinstance(failed.value.cause, CancelledError)
    assert any("stan: abort: a drill" in text for text in await scene.server.said(run.id))


async def test_a_start_is_of_the_plan_that_was_shown(scene: Scene) -> None:
    """The plan first, which changes nothing; another digest, or another world since, starts nothing."""
    names = scene.server.names
    async with logged_in(scene.server, "stan") as client:
        proof = proof_of((await client.get("/console/start")).text)
        asked = {"proof": proof, "procedure": "immediate", "failed_provider": names.bedrock, "reason": "maintenance"}
        plan = await client.post("/console/plan", data=asked)
        assert plan.status_code == 200, plan.text
        assert "Dry run, nothing was changed." in plan.text and f"{names.google}\N{NO-BREAK SPACE}100" not in plan.text
        digest = plan.text.partition('name="digest" value="')[2].partition('"')[0]
        wrong = await client.post("/console/start", data=asked | {"digest": "another", "key": "1"})
        assert (wrong.status_code, "nothing was started" in wrong.text) == (409, True)
        other = await client.post("/console/start", data=asked | {"failed_provider": names.google, "digest": digest})
        assert other.status_code == 409
        started = await client.post("/console/start", data=asked | {"digest": digest, "key": "1"})
        assert started.status_code == 303, started.text
        assert (await scene.server.run(scene.server.failover).result())["outcome"] == "COMPLETED"
        again = await client.post("/console/start", data=asked | {"digest": digest, "key": "1"})
        assert again.status_code == 409, "the world is another by now"
        bad = await client.post("/console/plan", data={"proof": proof, "procedure": "immediate"})
        assert (bad.status_code, "failed_provider" in bad.text) == (422, True)
        none = await client.post("/console/plan", data={"proof": proof, "procedure": "service"})
        assert none.status_code == 422


async def test_incidents_are_told_and_names_lead_nowhere_else(scene: Scene) -> None:
    """The list, the page, the report in Markdown; HTML beside it in a sandbox of its own."""
    names = scene.server.names
    await scene.server.client.execute_workflow(
        "ImmediateFailover",
        {"failed_provider": names.bedrock},
        id=scene.server.failover,
        task_queue=scene.server.task_queue,
    )
    folder = scene.server.evidence.list()[0]
    scene.server.evidence.attach(folder, "report.html", b"<script>alert(1)</script>")
    async with logged_in(scene.server, "vera") as client:
        past = (await client.get("/console/past")).text
        assert folder in past and "Execution" in past
        page = await client.get("/console/incident", params={"name": folder})
        assert (page.status_code, "Completed" in page.text) == (200, True)
        made = await client.get("/console/incident/report", params={"name": folder})
        assert "<svg" in made.text and "sandbox" in made.headers["content-security-policy"]
        report = await client.get("/console/incident/report", params={"name": folder, "form": "md"})
        assert report.text.startswith("# ImmediateFailover") and "attachment" in report.headers["content-disposition"]
        html = await client.get("/console/incident/report", params={"name": folder, "file": "report.html"})
        assert "sandbox" in html.headers["content-security-policy"]
        for params in ({"name": "../incidents"}, {"name": ""}, {"name": folder, "file": "../secret.html"}):
            wrong = await client.get("/console/incident/report", params=params)
            assert wrong.status_code == 404, params


def closed(number: int, minutes: int, outcome: Outcome, procedure: str = "ImmediateFailover") -> RunRecord:
    """A run that was decided so many minutes ago."""
    at = datetime.now(UTC) - timedelta(minutes=minutes)
    return run_record(
        procedure=procedure,
        workflow_id=f"run/{number}",
        run_id=f"run-{number:04}",
        outcome=outcome,
        reason="As it was.",
        moments=Moments(decided=at, in_force=at, closed=at),
        is_drill=procedure == "FailoverDrill",
    )


async def test_rates_are_of_the_whole_period_and_only_the_list_is_bounded(idle: Server) -> None:
    """Two hundred are listed; what is older counts all the same, and so does a drill that passed before."""
    idle.evidence.keep(closed(0, 600, Outcome.PASSED, "FailoverDrill"))
    for number in range(1, 221):
        idle.evidence.keep(closed(number, number, Outcome.COMPLETED if number <= 200 else Outcome.HELD))
    async with logged_in(idle, "vera") as client:
        past = (await client.get("/console/past", params={"period": "24h"})).text
        ready = (await client.get("/console/ready")).text
    assert "<td>200 of 220" in past and "The newest 200 of 221 are listed" in past
    assert past.count("As it was.") == 200
    assert "bedrock: a drill passed last on" in ready


async def test_whether_a_failover_would_work_is_told(idle: Server) -> None:
    """By the last audit, with what to do about each finding; nothing audited is no good news."""
    async with logged_in(idle, "vera") as client:
        page = (await client.get("/console/ready")).text
        assert "No audit was kept yet." in page and "No drill is on record." in page
        idle.sheet = Sheet(
            at=NOW,
            score=87.6,
            stranded=["chat"],
            targets=[Target(route="chat", provider="b", standing="not ready", level="bad", certificate="Withdrawn.")],
            remarks=[Remark(where="chat → b", level="bad", said="the key has <expired>", repair="Make a new one.")],
        )
        page = (await client.get("/console/ready")).text
    for said in (
        "88 % of the checks passed",
        "no target is known to work",
        "Not ready",
        "&lt;expired&gt;",
        "Make a new",
    ):
        assert said in page


async def test_what_does_not_answer_is_said(make_server: MakeServer) -> None:
    """No worker, no gateway: no page claims that all is well."""
    server = make_server(access={"operators": OPERATORS}, detection={"enabled": False})
    async with server.serving(), logged_in(server, "vera") as client:
        page = (await client.get("/console/")).text
    assert "Nobody can tell whether all is well." in page
    assert "The worker has no verdict about any provider yet." in page


async def test_nobody_who_watches_is_said(make_server: MakeServer) -> None:
    """Checks are due, and none completes: that is no doubt about a part, it is something to do."""
    server = make_server(access={"operators": OPERATORS})
    async with server.serving(), logged_in(server, "vera") as client:
        page = (await client.get("/console/")).text
    assert "Nobody watches the providers." in page
    assert "failoverctl doctor</code>" in page


async def test_a_run_that_nobody_answers_for_is_shown_all_the_same(idle: Server) -> None:
    """No worker holds the look up for so long that nothing of any run could be seen."""
    run = await idle.client.start_workflow(
        "GradualFailover", {"route": idle.names.chat}, id=f"gradual/{idle.names.chat}", task_queue=idle.task_queue
    )
    async with logged_in(idle, "vera") as client:
        page = await showing(client, run.id)
    assert "It does not tell where it stands: no worker answers." in page
    await run.terminate("nobody is at work")


async def test_what_a_run_left_to_people_is_said_until_somebody_has_acted(scene: Scene) -> None:
    """With its reason and its command, by Temporal's own record; a change of its route since is the end of it."""
    server, names = scene.server, scene.server.names
    server.plane.forget_writes = True
    run = await server.client.start_workflow(
        "ImmediateFailover", {"failed_provider": names.bedrock}, id=server.failover, task_queue=server.task_queue
    )
    with pytest.raises(WorkflowFailureError):
        await run.result()
    async with logged_in(server, "vera") as client:
        page = await showing(client, f"{server.failover} could not finish: a person is needed.")
        assert f"<code>failoverctl failover --failed-provider {names.bedrock} --yes</code>" in page
        assert "ended as NEEDS_HUMAN at" in page and "Run: failoverctl" not in page
        server.plane.forget_writes = False
        now = server.plane.policy(names.chat)
        server.plane.write(
            Change(
                route=names.chat,
                decided_on=now.revision,
                key="by hand",
                distribution=now.distribution,
                changed_by=ChangedBy(actor="olga"),
                reason="right as it stands",
            )
        )
        await showing(client, "All is well.")


async def test_a_decision_does_not_vanish_with_its_worker(make_server: MakeServer) -> None:
    """What a run told last stands until it tells again; the only thing that it cannot do is be taken for news."""
    server = make_server(access={"operators": OPERATORS}, detection={"enabled": False})
    async with server.serving(), logged_in(server, "anna") as client:
        async with server.working():
            scene = Scene(server)
            await scene.begin()
            await showing(client, "approve step-1")
        assert "approve step-1" in await showing(client, "A decision is needed.")
        await server.end(scene.ramp)


async def test_the_trusted_proxy_brings_people_in(make_server: MakeServer) -> None:
    """Without a cookie of ours; their forms need our proof all the same."""
    operators = {"olga": {"roles": ["override"], "proxy_name": "olga@example.com"}}
    access = {"operators": operators, "proxy_header": "X-Forwarded-User", "proxy_networks": ["127.0.0.1/32"]}
    named = {"x-forwarded-user": "olga@example.com"}
    async with make_server(access=access).serving() as server:
        page = await server.http.get("/console/past", headers=named)
        assert page.status_code == 200 and "olga" in page.text and "Log out" not in page.text
        order = {"run": "no/run", "verb": "abort"}
        assert (await server.http.post("/console/order", data=order, headers=named)).status_code == 403


async def test_it_can_be_switched_off(make_server: MakeServer) -> None:
    async with make_server(console={"enabled": False}).serving() as server:
        assert (await server.http.get("/console/")).status_code == 404


async def test_a_session_ends(idle: Server) -> None:
    """By time, by logging out, by another token, and where it was tampered with; roles are those of now."""

    def sessions(token: str = "vera's token", roles: tuple[str, ...] = ("view",)) -> Sessions:
        operators = {"vera": {"roles": list(roles), "token": hashed(token)}}
        config = idle.config.model_validate(idle.config.model_dump() | {"access": {"operators": operators}})
        return Sessions(Guard(config, {}, "key"), Signer("key"), timedelta(hours=12))

    cookie = sessions().begin("vera's token", NOW)
    assert cookie is not None
    assert sessions().begin("another token", NOW) is None
    found = sessions().find(cookie, NOW + timedelta(hours=11))
    assert found is not None and found.person.name == "vera"
    assert sessions().find(cookie, NOW + timedelta(hours=12)) is None
    assert sessions("a new token").find(cookie, NOW) is None
    promoted = sessions(roles=("override",)).find(cookie, NOW)
    assert promoted is not None and "override" in promoted.person.roles
    mine = sessions()
    session = mine.find(cookie, NOW)
    assert session is not None
    mine.end(session)
    assert mine.find(cookie, NOW) is None
    body, _, mac = cookie.partition(".")
    for forged in (None, "", "x", body, f"{body}.", f"{body}x.{mac}", f"{body}.{'0' * 64}", f"{body}.ü"):
        assert sessions().find(forged, NOW) is None
    assert Sessions(Guard(idle.config, {}, "other"), Signer("other"), timedelta(hours=1)).find(cookie, NOW) is None
    said = Signer("key").sign("said", {"name": "vera"})
    assert sessions().find(said, NOW) is None, "what was signed for another purpose is no session"
    assert COOKIE == "failover_console"
