"""Answers of an engine, whole and in pieces, and what is none."""

import pytest

from worker.docker_answer import HEAD_MAX, AnswerBroken, AnswerReader, AnswerTooLarge

SIZED = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n" + b'{"Id":"ab"}'
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
EMPTY = b"HTTP/1.1 204 No Content\r\nServer: Docker\r\n\r\n"
ANSWERS = [(SIZED, 201, b'{"Id":"ab"}'), (CHUNKED, 200, b"hello world"), (EMPTY, 204, b"")]


def read(*pieces):
    reader = AnswerReader()
    for piece in pieces:
        assert not reader.done
        reader.feed(piece)
    return reader


@pytest.mark.parametrize(("answer", "status", "body"), ANSWERS)
def test_an_answer_is_read_wherever_it_is_cut(answer, status, body):
    for cut in range(1, len(answer)):
        reader = read(answer[:cut], answer[cut:])
        assert (reader.status, bytes(reader.body), reader.done, reader.reusable) == (status, body, True, True)


@pytest.mark.parametrize(("answer", "status", "body"), ANSWERS)
def test_an_answer_is_read_byte_by_byte(answer, status, body):
    reader = read(*(answer[at : at + 1] for at in range(len(answer))))
    assert (reader.status, bytes(reader.body)) == (status, body)


@pytest.mark.parametrize(("answer", "status", "body"), ANSWERS)
def test_one_that_breaks_off_is_no_answer(answer, status, body):
    for cut in range(len(answer)):
        reader = read(answer[:cut])
        with pytest.raises(AnswerBroken):
            reader.closed()


def test_without_a_length_it_goes_on_until_the_connection_is_closed():
    reader = read(b"HTTP/1.0 200 OK\r\n\r\nall ", b"of it")
    assert not reader.done
    reader.closed()
    assert (reader.done, bytes(reader.body), reader.reusable) == (True, b"all of it", False)


def test_what_comes_first_in_between_is_not_the_answer():
    assert read(b"HTTP/1.1 100 Continue\r\n\r\n" + SIZED).status == 201


@pytest.mark.parametrize(
    "answer",
    [SIZED + b"HTTP", SIZED.replace(b"Content-Type", b"Connection: close\r\nX"), SIZED.replace(b"1.1", b"1.0")],
)
def test_a_connection_that_may_carry_something_else_is_not_used_again(answer):
    reader = read(answer)
    assert (reader.done, reader.reusable) == (True, False)


@pytest.mark.parametrize(
    "noise",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 many OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: some\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"x" * (HEAD_MAX + 1),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * (HEAD_MAX + 1),
    ],
)
def test_noise_is_no_answer(noise):
    with pytest.raises(AnswerBroken):
        read(noise)


@pytest.mark.parametrize(("answer", "length"), [(SIZED, 11), (CHUNKED, 11), (b"HTTP/1.0 200 OK\r\n\r\nmore of it", 10)])
def test_a_body_has_a_limit(answer, length):
    AnswerReader(length).feed(answer)
    with pytest.raises(AnswerTooLarge):
        AnswerReader(length - 1).feed(answer)
