"""The dashboard's files: what they may load, how they are kept, and that nothing else is reached."""

import re

import pytest

from api.resources.dashboard import KINDS, read_files

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("name", sorted(KINDS))
async def test_a_file_comes_with_its_guards_and_is_sent_once(anonymous, name):
    path = "/" if name == "index.html" else f"/static/{name}"
    answer = await anonymous.get(path)
    assert (answer.status, answer.headers["content-type"]) == (200, KINDS[name])
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    again = await anonymous.get(path, If_None_Match=f'"other", W/{answer.headers["etag"]}')
    assert (again.status, again.content) == (304, b"")
    assert again.headers["etag"] == answer.headers["etag"]
    assert (await anonymous.get(path, If_None_Match='"other"')).content == answer.content


@pytest.mark.parametrize("name", ["..%2Fapp.py", "..", "%2Fetc%2Fpasswd", "app.js%00", "nothing.js"])
async def test_nothing_but_the_files_of_the_table_is_reached(anonymous, name):
    assert (await anonymous.get(f"/static/{name}")).status == 404


async def test_the_data_still_needs_a_session(anonymous):
    assert (await anonymous.get("/v1/jobs")).status == 401


def test_the_files_hold_nothing_inline_and_name_no_other_origin():
    files = {name: found.content.decode() for name, found in read_files().items()}
    page = files["index.html"]
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=|<style", page)
    for name, text in files.items():
        assert "//" not in re.sub(r"http://www\.w3\.org/2000/svg|^\s*//.*$|; // .*$", "", text, flags=re.MULTILINE), (
            name
        )
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text), name
