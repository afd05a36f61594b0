import pytest

from engine.shared_resource import layout


def test_every_word_has_one_writer_and_writers_are_two_cache_lines_apart():
    both = (layout.CREATOR_WORDS, layout.SUPERVISOR_WORDS, layout.WRITER_WORDS)
    groups = (*both, layout.READER_WORDS, layout.SLEEP_WORDS)
    pairs_of_lines = [{word * layout.WORD_BYTES // 128 for word in group} for group in groups]
    assert all(len(pair) == 1 for pair in pairs_of_lines)
    assert len(set.union(*pairs_of_lines)) == len(groups)


def test_the_import_proof_notices_an_overlap(monkeypatch):
    monkeypatch.setattr(layout, "READER_WORDS", (*layout.READER_WORDS, layout.TAIL))
    with pytest.raises(AssertionError, match="two names"):
        layout._prove()


def test_an_empty_frame_is_one_cache_line():
    assert layout.FRAME_OVERHEAD_BYTES <= layout.FRAME_ALIGN_BYTES == layout.CACHE_LINE_BYTES
    assert layout.FRAME_HEADER.size + layout.FRAME_TOTAL.size == layout.FRAME_OVERHEAD_BYTES
