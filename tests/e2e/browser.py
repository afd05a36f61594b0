"""A headless Chromium, driven over its DevTools protocol: what a page shows, says on its console and asks for."""

import asyncio
import base64
import contextlib
import json
import re
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
PATIENCE_S = 60
SAFE_KEYS = {"Enter": 13, "Escape": 27, "Tab": 9, "ArrowDown": 40, "ArrowUp": 38, "End": 35, "Home": 36}


class Page:
    """One tab. `complaints` are errors and warnings of its console; `asked` the addresses of its requests."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loaded = asyncio.Event()
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for message in self._socket:
            word = json.loads(message.data)
            if "id" in word:
                answer = self._answers.pop(word["id"])
                if not answer.done():
                    answer.set_result(word)
            elif word["method"] == "Page.loadEventFired":
                self._loaded.set()
            elif word["method"] == "Network.requestWillBeSent":
                self.asked.append(word["params"]["request"]["url"])
            elif word["method"] == "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(word["params"])[:2_000])
            elif word["method"] == "Runtime.consoleAPICalled" and word["params"]["type"] in ("error", "warning"):
                self.complaints.append(json.dumps(word["params"]["args"])[:2_000])
            elif word["method"] == "Log.entryAdded" and word["params"]["entry"]["level"] in ("error", "warning"):
                self.complaints.append(json.dumps(word["params"]["entry"])[:2_000])

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        number = self._number
        self._answers[number] = answer = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(PATIENCE_S):
            found = await answer
        assert "error" not in found, (method, found)
        return found["result"]

    async def js(self, expression: str) -> Any:
        done = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, (expression, done["exceptionDetails"])
        return done["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait until the expression is true, looked at by the page itself."""
        waits = (
            "new Promise((done) => { const end = performance.now() + %d; const look = () => { let found;"
            " try { found = (%s); } catch { found = null; }"
            " if (found || performance.now() > end) done(Boolean(found)); else setTimeout(look, 30); }; look(); })"
        )
        found = await self.js(waits % (40_000, expression))
        assert found, f"never {expression}; the page says: {await self.js('document.body.innerText')}"
        return found

    async def reload(self) -> None:
        """Load the page anew; returns when it is there, so that no question is put to the old one."""
        self._loaded.clear()
        await self.call("Page.reload")
        async with asyncio.timeout(PATIENCE_S):
            await self._loaded.wait()

    async def size(self, wide: int, high: int) -> None:
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=wide, height=high, deviceScaleFactor=1, mobile=wide < 500
        )

    async def key(self, name: str, text: str = "") -> None:
        how = {"key": name, "code": name, "windowsVirtualKeyCode": SAFE_KEYS.get(name, ord(name[0].upper()))}
        typed = {"text": text or ("\r" if name == "Enter" else "")}
        await self.call("Input.dispatchKeyEvent", type="keyDown" if typed["text"] else "rawKeyDown", **how, **typed)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **how)

    async def type(self, text: str) -> None:
        await self.call("Input.insertText", text=text)

    async def click(self, selector: str) -> None:
        """Click where the element is seen, as a person does, once it is to be seen."""
        await self.until(f"document.querySelector({json.dumps(selector)})?.checkVisibility()")
        place = (
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center'}});"
            " const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        x, y = await self.js(place)
        for kind in ("mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    async def shot(self) -> bytes:
        """Return a picture of what is in sight, a PNG."""
        return base64.b64decode((await self.call("Page.captureScreenshot", format="png"))["data"])


@contextlib.asynccontextmanager
async def open_page(profile: Path, wide: int = 1280, high: int = 800) -> AsyncIterator[Page]:
    """Open a browser without a past. Fails loudly where there is no Chromium."""
    program = shutil.which("chromium")
    assert program, "there is no chromium (apt-get install chromium); the dashboard is tested in it"
    command = [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    browser = await asyncio.create_subprocess_exec(*command, stdout=DEVNULL, stderr=PIPE)
    try:
        port = await _port(browser)
        silent = asyncio.create_task(browser.stderr.read())
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            address = next(tab["webSocketDebuggerUrl"] for tab in await answer.json() if tab["type"] == "page")
            async with session.ws_connect(address, max_msg_size=0) as socket:
                page = Page(socket)
                for domain in ("Page", "Runtime", "Network", "Log"):
                    await page.call(f"{domain}.enable")
                await page.size(wide, high)
                yield page
                page.reader.cancel()
    finally:
        browser.terminate()
        await browser.wait()
    await silent


async def _port(browser: asyncio.subprocess.Process) -> int:
    """Read where the browser listens from what it says at its start."""
    said = b""
    async with asyncio.timeout(PATIENCE_S):
        while line := await browser.stderr.readline():
            said += line
            if found := re.search(rb"DevTools listening on ws://127\.0\.0\.1:(\d+)/", line):
                return int(found[1])
    raise AssertionError(f"chromium ended at its start: {said.decode(errors='replace')}")
