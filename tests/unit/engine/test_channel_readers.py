"""What the reading end of a channel makes of damage."""

import pytest

from engine.service_channels import ChannelReader
from engine.shared_resource.ring_words import RingCorrupt
from swarmsync.protocol import codec


class End:
    """The reader's end of a ring: takes are given out in turn, and one may be damage."""

    def __init__(self, *takes):
        self.takes, self.abandoned, self.ring = [*takes, []], 0, self
        self.name = "placements"

    def take_frames(self, _limit):
        taken = self.takes.pop(0)
        if isinstance(taken, Exception):
            raise taken
        return taken

    def abandon(self):
        self.abandoned += 1


def decode(frame):
    if frame == b"junk":
        raise codec.DecodeError("no word")
    return [frame.decode()]


@pytest.mark.parametrize(
    ("takes", "abandoned"), [(([b"a"], RingCorrupt("torn")), 1), (([b"a", b"junk", b"b"],), 0)], ids=["torn", "junk"]
)
def test_damage_is_counted_or_ends_the_reader(takes, abandoned):
    patient, strict = End(*takes), End(*takes)
    reader = ChannelReader(patient, decode)
    words = reader.take()
    assert (words[0], reader.damaged, patient.abandoned) == ("a", 1, abandoned)
    with pytest.raises(RingCorrupt):
        ChannelReader(strict, decode, damage_ends_reader=True).take()
    assert strict.abandoned == abandoned, "the next reader goes on behind it"
