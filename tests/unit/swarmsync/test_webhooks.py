"""Signatures as Standard Webhooks has them, and addresses that nothing may be sent to."""

import base64

import pytest

from swarmsync.model.webhooks import networks, refusal, secret_text, signature, url_problem

PRIVATE = networks(["10.0.0.0/8", "127.0.0.0/8", "fd00::/8", "169.254.0.0/16"])


def test_a_signature_is_that_of_the_standard():
    # the example of the Standard Webhooks specification's own libraries
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    assert signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


def test_a_key_is_shown_in_the_form_of_the_standard():
    assert base64.b64decode(secret_text(bytes(32)).removeprefix("whsec_")) == bytes(32)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"])
def test_public_addresses_are_fine(address):
    assert refusal(address, ()) == ""


@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3", "172.16.0.1", "192.168.1.1", "127.0.0.1", "127.9.9.9", "100.64.0.1", "192.0.2.1", "240.0.0.1",
        "255.255.255.255", "0.1.2.3", "::1", "fd12::1", "fec0::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1",
        "64:ff9b::a00:1", "2002:a00:1::", "::10.0.0.1", "2001:db8::1", "4000::1",
    ],
)  # fmt: skip
def test_private_ones_are_refused_and_named(address):
    assert "webhooks.allow_networks" in refusal(address, ())


@pytest.mark.parametrize("address", ["10.1.2.3", "127.0.0.1", "fd12::1", "::ffff:10.0.0.1", "64:ff9b::a00:1"])
def test_what_an_administrator_allows_is_fine(address):
    assert refusal(address, PRIVATE) == ""


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254", "169.254.1.1", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "100.100.100.200", "192.0.0.192",
        "0.0.0.0", "::", "224.0.0.1", "ff02::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::",
    ],
)  # fmt: skip
def test_metadata_and_the_like_are_refused_whatever_is_allowed(address):
    everything = networks(["0.0.0.0/0", "::/0"])
    assert "nothing is ever sent" in refusal(address, everything)


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("", "no address of HTTP"),
        ("ftp://a.example/", "no address of HTTP"),
        ("https://", "no address of HTTP"),
        ("https://a.example:0/", "no address of HTTP"),
        ("https://a.example:70000/", "no URL"),
        ("https://[::1/", "no URL"),
        ("https://me:pw@a.example/", "login"),
        ("https://a.example/#x", "fragment"),
        ("https://a.example/ x", "no URL"),
        ("https://a.example/\r\nx: y", "no URL"),
        ("https://ä.example/", "no URL"),
        ("https://a.example/" + "x" * 2048, "no URL"),
        ("http://127.0.0.1:8420/", "webhooks.allow_networks"),
        ("http://[fe80::1]/", "nothing is ever sent"),
        ("http://169.254.169.254/latest/meta-data", "nothing is ever sent"),
    ],
)
def test_what_is_wrong_with_a_url_is_said(url, word):
    assert word in url_problem(url, ())


@pytest.mark.parametrize(
    "url", ["https://a.example", "http://a.example:8080/x?y=z", "https://8.8.8.8/", "http://localhost/"]
)
def test_a_name_is_judged_when_it_is_resolved(url):
    assert url_problem(url, ()) == ""
