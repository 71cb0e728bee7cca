"""The feed: what was told last, by number, and no more of it than it may keep."""

import pytest

from supervisor.publish.events import Feed, message


def feed(*, told: int, kept: int = 3, most_bytes: int = 10_000) -> Feed:
    made = Feed("e9", kept=kept, most_bytes=most_bytes)
    for number in range(1, told + 1):
        made.tell("liveness", b"%d" % number)
    return made


def numbers(made: Feed, number: int) -> list[int] | None:
    news = made.after(number)
    return None if news is None else [each.number for each in news]


def test_an_event_is_told_in_the_form_of_server_sent_events() -> None:
    told = feed(told=1).after(0)

    assert told is not None
    assert [each.text for each in told] == [b"id: e9.1\nevent: liveness\ndata: 1\n\n"]
    assert message("fresh", b"{}") == b"event: fresh\ndata: {}\n\n"


@pytest.mark.parametrize(("number", "expected"), [(5, []), (4, [5]), (2, [3, 4, 5]), (1, None), (0, None)])
def test_what_was_missed_is_told_as_long_as_all_of_it_is_kept(number: int, expected: list[int] | None) -> None:
    assert numbers(feed(told=5), number) == expected


@pytest.mark.parametrize(
    ("event_id", "expected"),
    [
        ("e9.5", 5),
        ("e9.2", 2),
        ("e9.1", None),  # forgotten, and 2 with it
        ("e9.6", None),  # never told
        ("e8.4", None),  # of another daemon
        ("e9.", None),
        ("e9", None),
        ("", None),
        ("e9.-1", None),
        ("e9.٤", None),
        ("e9." + "4" * 10_000, None),
    ],
)
def test_only_an_id_after_which_nothing_is_forgotten_is_known(event_id: str, expected: int | None) -> None:
    assert feed(told=5).number_of(event_id) == expected


def test_nobody_can_ask_after_a_number_that_was_never_told_of_an_empty_feed() -> None:
    empty = Feed("e9")

    assert (empty.number_of("e9.0"), empty.number_of("e9.1"), numbers(empty, 0)) == (0, None, [])


def test_large_events_are_forgotten_sooner_and_the_last_one_never() -> None:
    made = feed(told=3, most_bytes=200)

    made.tell("liveness", b"x" * 150)
    after_one = numbers(made, 3), numbers(made, 2)
    made.tell("liveness", b"x" * 1000)

    assert after_one == ([4], None)
    assert (numbers(made, 4), numbers(made, 3)) == ([5], None)
