"""The dashboard in a headless Chromium, as a person uses it: nothing on its console, no request to anybody else."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from statistics import median

import pytest

from swarmsync.client import Client
from tests.e2e.browser import Page, open_page
from tests.e2e.conftest import CoreProcess, wait_until

pytestmark = pytest.mark.e2e

PASSWORD = "correct horse battery"
MANY = 10_000
#: A name that would be markup if the page took it for that.
NASTY = "<img src=x onerror=document.title='owned'>"
WORKER = '[worker]\nruntime = "process"\nname = "w1"\ncpus = 4\n'
OpenedPage = Callable[..., AbstractAsyncContextManager[Page]]


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoreProcess]:
    core = CoreProcess(tmp_path_factory.mktemp("core"), WORKER)
    core.start()
    core.ready().call("POST", "/v1/users", {"username": "eve", "password": PASSWORD, "role": "admin"})
    yield core
    core.let_go()


@pytest.fixture(scope="module")
def client(core: CoreProcess) -> Client:
    return core.client()


@pytest.fixture
def opened(core: CoreProcess, tmp_path: Path) -> OpenedPage:
    """Open the page and log in; at its end nothing was complained of and nobody else was asked."""

    @asynccontextmanager
    async def open_it(wide: int, high: int) -> AsyncIterator[Page]:
        url = f"http://127.0.0.1:{core.port}"
        async with open_page(tmp_path / f"profile{wide}", wide, high) as page:
            await page.call("Page.navigate", url=f"{url}/")
            await page.until("document.activeElement.id === 'username'")
            await page.type("eve")
            await page.key("Tab")
            await page.type(PASSWORD)
            await page.key("Enter")
            await page.until("document.getElementById('link').textContent === 'Live'")
            yield page
            assert page.complaints == []
            assert [one for one in page.asked if not one.startswith((f"{url}/", "about:"))] == []
            assert await page.js("document.documentElement.scrollWidth <= innerWidth")

    return open_it


def shell(client: Client, name: str, command: str) -> str:
    spec = {"image": "i", "name": name, "command": ["sh", "-c", command], "resources": {"cpus": 0.1}}
    return client.submit(spec)["id"]


def row_of(job: str) -> str:
    return f"document.querySelector('#jobs [data-id=\"{job}\"]')"


def text_of(place: str) -> str:
    return f"document.getElementById('{place}').textContent"


@pytest.mark.parametrize(("wide", "high"), [(1280, 800), (390, 844)])
async def test_a_job_starts_writes_ends_and_another_is_cancelled_and_run_again(opened, client, tmp_path, wide, high):
    async with opened(wide, high) as page:
        await page.until(f"{text_of('n-workers')} === '1'")
        await page.click("#tab-jobs")
        gate = tmp_path / "gate"
        job = shell(
            client, f"{NASTY}{wide}", f"echo begun; until [ -e {gate} ]; do sleep 0.05; done; echo done; echo bad >&2"
        )
        await page.until(f"{row_of(job)}.textContent.includes('running')")
        await page.click(f'#jobs [data-id="{job}"] a')
        await page.until(f"{text_of('output')} === 'begun\\n'")
        assert await page.js(text_of("job-state")) == "running"
        gate.touch()
        await page.until(f"{text_of('output')}.includes('done') && {text_of('output')}.includes('bad')")
        await page.until(f"{text_of('job-state')} === 'succeeded'")
        assert await page.js("document.querySelector('#output .stderr').textContent") == "bad\n"
        assert await page.js(text_of("h-job")) == f"{NASTY}{wide}"
        assert (await page.js("document.title")).startswith("Jobs ")
        await page.until(f"{text_of('why')}.includes('exit code 0')")
        await page.key("Escape")
        await page.until("document.getElementById('detail').hidden")
        other = shell(client, f"long-{wide}", "sleep 300")
        await page.until(f"{row_of(other)}.textContent.includes('running')")
        await page.click(f'#jobs [data-id="{other}"] a')
        await page.until("!document.getElementById('cancel').hidden")
        await page.click("#cancel")
        await page.until(f"{text_of('job-state')} === 'cancelled'")
        await page.click("#rerun")
        await page.until(f"{text_of('job-state')} === 'running' && location.hash !== '#/jobs/{other}'")
        again = (await page.js("location.hash")).rpartition("/")[2]
        assert client.job(again)["rerun_of"] == other
        await page.click("#cancel")
        await page.until(f"{text_of('job-state')} === 'cancelled'")


async def test_every_view_in_light_and_dark_with_its_colours_told_apart(opened, client):
    client.call("POST", "/v1/schedules", {"name": "each", "cron": "*/5 * * * *", "job": {"image": "i"}})
    client.call("POST", "/v1/schedules/each/trigger", {})
    async with opened(1280, 800) as page:
        assert await page.js("matchMedia('(prefers-color-scheme: dark)').matches") is False
        papers = []
        for theme in ("light", "dark"):
            await page.until(
                f"document.getElementById('theme').click() || document.documentElement.dataset.theme === '{theme}'"
            )
            papers.append(await page.js("getComputedStyle(document.body).backgroundColor"))
            for view, sign in (("workers", "w1"), ("schedules", "each"), ("engine", "scheduler"), ("overview", "")):
                await page.click(f"#tab-{view}")
                await page.until(
                    f"!document.getElementById('view-{view}').hidden && {text_of(f'view-{view}')}.includes('{sign}')"
                )
                assert await page.js(CONTRAST) == []
                assert await page.js(NAMELESS) == []
            await page.until(
                "document.querySelector('#curve-rate polyline') && document.querySelector('#curve-latency text')"
            )
        assert papers[0] != papers[1]
        await page.click("#tab-schedules")
        await page.click("#schedules button.plain")
        await page.until("document.querySelectorAll('#fires li').length === 8")
        await page.until(f"{text_of('history')}.includes('triggered')")
        await page.reload()
        await page.until(f"document.documentElement.dataset.theme === 'dark' && {text_of('link')} === 'Live'")
        await page.click("#logout")
        await page.until(
            "document.activeElement.id === 'username' && !document.getElementById('jobs').textContent.includes('succeeded')"
        )


async def test_ten_thousand_jobs_are_smooth_and_found(opened, client):
    spec = {"image": "i", "resources": {"cpus": 500}}  # they wait, and are there
    client.call("POST", "/v1/jobs", {"jobs": [{**spec, "name": f"many-{n:05d}"} for n in range(MANY)]})
    wait_until(lambda: client.get("/v1/stats")["jobs"]["queued"] >= MANY, 60)
    async with opened(1280, 800) as page:
        await page.click("#tab-jobs")
        await page.until("document.querySelectorAll('#jobs .job-row').length > 10")
        frames = await page.js(SCROLL_TO_THE_END)
        assert frames["rows"] >= MANY
        assert frames["most"] < 60, "rows out of sight are there"
        gaps = frames["gaps"]
        first, last = gaps[: len(gaps) // 4], gaps[-len(gaps) // 4 :]
        assert median(last) <= 3 * median(first), "a frame takes longer the more rows were loaded"
        await page.key("End")
        await page.until(
            f"document.activeElement.closest('.job-row').getAttribute('aria-rowindex') == {frames['rows'] + 1}"
        )
        await page.key("/", "/")
        await page.type("many-04217")
        await page.until("document.querySelectorAll('#jobs .job-row').length === 1")
        await page.key("ArrowDown")
        found = client.get("/v1/jobs?name=many-04217")["items"][0]["id"]
        await page.js("document.querySelector('#jobs .job-row a').focus()")
        await page.key("Enter")
        await page.until(f"location.hash === '#/jobs/{found}' && {text_of('why')}.includes('Unsatisfiable')")
        await page.click("#hold")
        await page.until(f"{text_of('job-state')} === 'held'")
        await page.click("#cancel")
        await page.until(f"{text_of('job-state')} === 'cancelled'")
        await page.click('[data-state="held"]')
        await page.until("!document.getElementById('jobs-none').hidden")


#: Scroll by three screens per frame, until all is loaded; tell how far apart the frames were, in milliseconds.
SCROLL_TO_THE_END = """new Promise((done) => {
  const place = document.getElementById("jobs"), canvas = document.getElementById("jobs-canvas");
  const row = document.querySelector("#jobs .job-row").offsetHeight;
  let last = performance.now(), most = 0, still = 0;
  const gaps = [];
  const step = (now) => {
    gaps.push(now - last); last = now;
    most = Math.max(most, canvas.children.length);
    const top = place.scrollTop;
    place.scrollTop += 3 * place.clientHeight;
    still = place.scrollTop === top && !document.getElementById("jobs-count").textContent.includes("more") ? still + 1 : 0;
    if (still > 5) done({ rows: Math.round(canvas.offsetHeight / row), gaps, most });
    else requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})"""

#: Texts in sight whose contrast with what is behind them is below 4.5 (WCAG AA).
CONTRAST = """(() => {
  const read = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return { r, g, b, a }; };
  const light = ({ r, g, b }) => [r, g, b].map((n) => n / 255).map((n) => (n <= 0.03928 ? n / 12.92 : ((n + 0.055) / 1.055) ** 2.4)).reduce((sum, n, i) => sum + n * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (e) => { for (; e; e = e.parentElement) { const c = read(getComputedStyle(e).backgroundColor); if (c.a === 1) return c; } return read("rgb(255,255,255)"); };
  const poor = [];
  for (const e of document.body.querySelectorAll("*")) {
    if (!e.checkVisibility() || ![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()) || e.closest(".unseen, .skip")) continue;
    const style = getComputedStyle(e), ink = light(read(e.closest("svg") ? style.fill : style.color)), paper = light(behind(e));
    const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    if (ratio < 4.5) poor.push(`${e.tagName}.${e.className} ${e.textContent.slice(0, 30)} ${ratio.toFixed(2)}`);
  }
  return poor;
})()"""

#: What can be used but has no name for who cannot see it.
NAMELESS = """[...document.querySelectorAll("button, a, input, select, [role=img], [tabindex='0']")]
  .filter((e) => e.checkVisibility() && !(e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.labels?.length || e.textContent.trim()))
  .map((e) => e.outerHTML.slice(0, 100))"""
