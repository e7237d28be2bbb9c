"""The console as people use it: in a real browser, by thumb, by keyboard, and without JavaScript."""

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import expect

from failover.health import Condition
from tests.webhooks.console.conftest import HOSTILE, Open, Scene, verdict

PHONE = {"width": 390, "height": 844}


async def test_the_decision_that_is_needed_stands_first_and_is_made_by_one_press(scene: Scene, visit: Open) -> None:
    """On a phone, without scrolling; the answer follows by itself, and so does the end of the run."""
    asked = await scene.begin()
    page = await visit("anna", viewport=PHONE)
    await expect(page.locator("h1")).to_have_text("A decision is needed.")
    await expect(page.locator(".answer")).to_contain_text("approve step-1")
    button = page.get_by_role("button", name=f"Approve {scene.ramp}")
    await expect(button).to_be_in_viewport(ratio=1)
    await button.click()
    await expect(page.get_by_role("status").first).to_contain_text("Approved step-1.")
    assert await scene.outcome() == "COMPLETED"
    await expect(page.locator("h1")).to_have_text("All is well.")
    said = await scene.server.said(scene.ramp)
    assert any("anna, approve" in text for text in said), (asked, said)


async def test_an_abort_says_first_what_will_happen(scene: Scene, visit: Open) -> None:
    """And puts back what was found only once that was agreed to."""
    await scene.begin()
    page = await visit("stan")
    await page.get_by_role("link", name=f"Abort {scene.ramp}").click()
    await expect(page.locator("h1")).to_have_text("Abort this run?")
    names = scene.server.names
    said = page.locator("main ul").first
    await expect(said).to_contain_text(f"goes back to what was found: {names.bedrock} 70 %, {names.google} 30 %")
    await page.fill("#comment", "wrong route")
    await page.get_by_role("button", name="Abort this run").click()
    await expect(page.get_by_role("status").first).to_contain_text("Aborting: what was found is put back")
    assert await scene.outcome() == "ABORTED"
    assert any("stan, abort (wrong route)" in text for text in await scene.server.said(scene.ramp))


async def test_what_changes_is_seen_without_a_reload_and_disturbs_nobody(scene: Scene, visit: Open) -> None:
    """The element in focus stays, an opened part stays open, and the new headline is spoken."""
    await scene.begin()
    page = await visit("olga")
    await expect(page.locator("#live")).to_have_attribute("data-state", "live")
    await expect(page.locator(".answer")).to_contain_text("approve step-1")
    await page.locator("summary").click()
    await page.get_by_role("button", name=f"Approve {scene.ramp}").focus()
    await page.evaluate("window.sameDocument = true")
    bedrock = scene.server.names.bedrock
    scene.server.board.post(verdict(bedrock, Condition.UNAVAILABLE, "3 probes in a row failed"))
    card = page.locator(f"#provider-{bedrock}")
    await expect(card).to_contain_text("Unhealthy")
    await expect(page.locator(".why")).to_contain_text(f"{bedrock} is down and has 70 % of route")
    assert await page.evaluate("window.sameDocument"), "the page was loaded anew"
    await scene.server.run(scene.ramp).signal("note", {"by": "ben", "text": "AWS confirms"})
    await expect(page.locator("details")).to_contain_text("AWS confirms")
    assert "Approve" in (await page.evaluate("document.activeElement.getAttribute('aria-label')") or "")
    assert await page.evaluate("document.querySelector('details').open")
    before = await page.locator("#announcer").text_content()
    await scene.server.run(scene.ramp).cancel()
    await expect(page.locator("h1")).to_contain_text("Users are in trouble, and no run is at it.")
    await expect(page.locator("#announcer")).to_contain_text("Users are in trouble")
    assert "Users are in trouble" not in (before or "")


async def test_a_page_that_is_no_longer_live_says_so(scene: Scene, visit: Open) -> None:
    """Somebody who looks at old news at 3 a.m. must know that it is old: here since another tab logged out."""
    page = await visit("vera")
    await expect(page.locator("#live")).to_have_attribute("data-state", "live")
    other = await page.context.new_page()
    await other.goto("/console/past")
    await other.get_by_role("button", name="Log out").click()
    await expect(other.locator("h1")).to_have_text("Failover console")
    await expect(page.locator("#live")).to_have_attribute("data-state", "lost")
    await expect(page.locator("#live")).to_contain_text("Your session is over: log in again. What is shown is of")


async def test_it_works_without_javascript(scene: Scene, visit: Open) -> None:
    """Forms post, pages load anew; the same buttons, and the same words."""
    await scene.begin()
    page = await visit("olga", java_script_enabled=False)
    assert await page.locator("noscript").count() > 0
    await page.get_by_role("button", name=f"Pause {scene.ramp}").click()
    await expect(page.locator(".said")).to_contain_text("Paused")
    await page.get_by_role("button", name=f"Resume {scene.ramp}").click()
    await page.get_by_role("link", name=f"Reject {scene.ramp}").click()
    await page.get_by_role("button", name="Reject").click()
    await expect(page.locator(".said")).to_contain_text("Rejected step-1.")
    assert await scene.outcome() == "REJECTED"


async def test_words_of_others_are_text(scene: Scene, visit: Open) -> None:
    """In reasons, comments, verdicts and notes; nothing of it runs, wherever it is shown."""
    await scene.begin(reason=HOSTILE)
    bedrock = scene.server.names.bedrock
    scene.server.board.post(verdict(bedrock, Condition.UNAVAILABLE, HOSTILE))
    page = await visit("olga")
    await expect(page.locator(".why")).to_contain_text("<img src=x onerror=")
    await expect(page.locator(f"#route-{scene.server.names.chat}")).to_contain_text("<script>")
    await page.goto(f"/console/run?id={scene.ramp}")
    await page.fill("#note", HOSTILE)
    await page.get_by_role("button", name="Leave the note").click()
    await expect(page.locator("#part-timeline")).to_contain_text("<script>")
    await page.goto(f"/console/order?run={scene.ramp}&verb=abort")
    await page.fill("#comment", HOSTILE)
    await page.get_by_role("button", name="Abort this run").click()
    await scene.outcome()
    await page.goto("/console/past")
    await page.get_by_role("link", name=scene.ramp).click()
    await expect(page.locator("main")).to_contain_text("<img src=x onerror=")
    assert await page.locator("main img, main script").count() == 0
    assert "taken" not in await page.title()


async def test_the_keyboard_is_enough(scene: Scene, visit: Open) -> None:
    """From the login to the approval: the first key skips to the content, and the focus can be seen."""
    await scene.begin()
    page = await visit("anna")
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.textContent") == "Skip to the content"
    await page.keyboard.press("Enter")
    for _ in range(4):
        await page.keyboard.press("Tab")
        if (await page.evaluate("document.activeElement.textContent")).strip() == "Approve":
            break
    assert (await page.evaluate("document.activeElement.textContent")).strip() == "Approve"
    assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status").first).to_contain_text("Approved step-1.")
    assert await scene.outcome() == "COMPLETED"


def _pages(scene: Scene) -> list[str]:
    incident = f"incident?name={scene.server.evidence.list()[0]}"
    run, order = f"run?id={scene.ramp}", f"order?run={scene.ramp}&verb=abort"
    paths = ["", run, order, "start", "past", "ready", incident, "login"]
    return [f"/console/{path}" for path in paths]


async def test_axe_finds_nothing_and_nothing_is_wider_than_a_phone(scene: Scene, visit: Open) -> None:
    """Every page, with a run under way, a provider down and an incident in the past; contrast in both schemes."""
    names = scene.server.names
    await scene.server.client.execute_workflow(
        "ImmediateFailover",
        {"failed_provider": names.bedrock, "reason": "maintenance"},
        id=f"failover/{names.bedrock}",
        task_queue=scene.server.task_queue,
    )
    await scene.begin(failed_provider=names.google)
    scene.server.board.post(verdict(names.bedrock, Condition.UNAVAILABLE, "3 probes in a row failed"))
    page = await visit("olga", viewport=PHONE)
    for path in _pages(scene):
        await page.goto(path)
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme)
            found = await Axe().run(page)
            assert found.violations_count == 0, (path, scheme, found.generate_report())
