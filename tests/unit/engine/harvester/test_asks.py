"""Questions are passed on within bounds, and those beyond are told so."""

from engine.harvester.asks import BUSY, WAITING_MAX, Asks
from swarmsync.model.job import Waiting
from swarmsync.model.resources import Need
from swarmsync.protocol.messages import Ask


def ask(number=1):
    return Ask("", "why", Waiting(number, 7, Need(), 50, 12))


def test_a_question_goes_on_with_the_subject_that_waits_for_its_answer():
    asks = Asks()
    assert asks.arrived(ask(), "_INBOX.1")
    (sent,), refused = asks.take(0)
    assert (sent.reply, sent.job.job_id, refused) == ("_INBOX.1", 1, [])
    assert asks.take(0) == ([], [])


def test_who_waits_for_no_answer_is_not_answered():
    assert not Asks().arrived(ask(), "")


def test_more_than_may_be_under_way_are_refused_until_patience_has_passed():
    asks = Asks(under_way_max=2, patience_ms=1_000)
    for number in range(3):
        asks.arrived(ask(number), f"i{number}")
    sent, refused = asks.take(100)
    assert ([word.reply for word in sent], [word.reply for word in refused]) == (["i0", "i1"], ["i2"])
    asks.arrived(ask(), "late")
    assert asks.take(1_099) == ([], [ask_with("late")])
    asks.arrived(ask(), "later")
    assert asks.take(1_100)[0] == [ask_with("later")]
    assert asks.refused(refused) == [("i2", BUSY)]


def ask_with(reply):
    return Ask(reply, "why", ask().job)


def test_what_waits_for_a_turn_is_bounded():
    asks = Asks()
    assert all(asks.arrived(ask(), "i") for _ in range(WAITING_MAX))
    assert not asks.arrived(ask(), "i")
    assert len(asks) == WAITING_MAX
