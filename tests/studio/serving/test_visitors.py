"""Who counts as one visitor, and that nobody can take everything."""

from __future__ import annotations

import pytest

from e5studio.studio.serving.visitors import Shares, visitor_of


def scope(host, *headers):
    return {"client": (host, 4000) if host else None, "headers": list(headers)}


FORWARDED = (b"x-forwarded-for", b"203.0.113.9")


@pytest.mark.parametrize(
    ("host", "headers", "visitor"),
    [
        ("8.8.8.8", (), "8.8.8.8"),
        ("::ffff:8.8.8.8", (), "8.8.8.8"),
        ("8.8.8.8", (FORWARDED,), "8.8.8.8"),  # anybody can say so
        ("192.168.1.5", (), "192.168.1.5"),
        ("192.168.1.5", (FORWARDED,), "session ann"),  # a proxy that the server was not told to trust
        ("2001:db8:1:2:3:4:5:6", (), "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", (), "2001:db8:1:2::/64"),
        ("127.0.0.1", (), "session ann"),
        ("::1", (), "session ann"),
        (None, (), "session ann"),
        ("unknown", (), "session ann"),
    ],
)
def test_a_visitor_is_an_address_or_a_page_where_all_have_the_same(host, headers, visitor):
    assert visitor_of(scope(host, *headers), "ann") == visitor


def test_one_alone_gets_half_and_there_is_room_for_another():
    shares = Shares(100)
    assert sum(shares.take("greedy", 1) for _ in range(200)) == 50
    assert [shares.take(name, 1) for name in ("ann", "bob", "cid")] == [True] * 3
    assert shares.take("ann", 20)
    assert not shares.take("ann", 20)
    shares.add("greedy", -50)
    assert shares.take("ann", 20)


def test_who_has_nothing_is_not_remembered():
    shares = Shares(100)
    for number in range(1000):
        assert shares.take(str(number), 1)
        shares.add(str(number), -1)
        shares.take(f"refused {number}", 1000)
    assert shares.total == len(shares._taken) == 0
