"""Words of messages."""

import pytest

from utils.base.text import counted, one_line


@pytest.mark.parametrize(("count", "text"), [(0, "0 classes"), (1, "1 class"), (2, "2 classes")])
def test_a_noun_has_the_number_of_its_count(count, text):
    """The output would say "1 classes"."""
    assert counted(count, "class", "classes") == text
    assert counted(count, "clip") == text.replace("class", "clip").replace("clipes", "clips")


def test_long_messages_are_shortened_in_the_middle():
    """An error would fill the screen, or lose what was found at its end."""
    assert one_line("a\n b ") == "a b"
    assert one_line("x" * 600 + "end").endswith("xend")
    assert len(one_line("x" * 600)) == 505
