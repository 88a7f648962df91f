"""Where the thought ends, in responses of known tags and in texts of unknown origin."""

from __future__ import annotations

import pytest

from data_tools.traces.thoughts import ThinkParts, behind_any_tag, behind_thought, split_think


def test_behind_the_last_closing_tag():
    assert behind_thought("<think>\\boxed{1}</think>It is \\boxed{2}.") == "It is \\boxed{2}."
    assert behind_thought("[T]1[/T]2[/T]3", ("[T]", "[/T]")) == "3"
    assert behind_thought("\\boxed{2}") == "\\boxed{2}"
    assert behind_thought("<think>\\boxed{2}") is None
    assert behind_thought("<think>\\boxed{2}", ("[T]", "[/T]")) == "<think>\\boxed{2}"
    assert behind_thought("<think>1</think>2", ()) == "<think>1</think>2"


@pytest.mark.parametrize("tag", ["</think>", "</THINKING>", "</reasoning>"])
def test_of_unknown_tags_thoughts_are_left_out_unless_nothing_follows(tag):
    assert behind_any_tag(f"1{tag} 2") == " 2"
    assert behind_any_tag(f"1{tag} ") == f"1{tag} "
    assert behind_any_tag("<think>1") == ""
    assert behind_any_tag("1") == "1"


def test_a_trace_may_have_tags_of_its_own_or_any_published_form():
    for trace in ("[T]T[/T]A", "<think>T</think>A", "think\nT\nanswer\nA", "T[/T]A"):
        parts = split_think(trace, ("[T]", "[/T]"))
        assert (parts.thought, parts.answer) == ("T", "A")
    assert split_think("[T]T", ("[T]", "[/T]")).fault == "unclosed_think"
    assert split_think(" <think>T</think>A ", ()) == ThinkParts("", "<think>T</think>A", "none")
