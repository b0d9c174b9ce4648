"""Downloads arrive as they were sent, are known to their page alone, and do not stay."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from e5studio.studio.errors import LimitError
from e5studio.studio.serving.downloads import (
    MAX_INLINE_CHARACTERS,
    Download,
    Downloads,
    FileDownload,
    download_route,
)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def opened(content):
    """As widgets/payload.js reads it."""
    (length,) = struct.unpack("<I", content[:4])

    def revive(item):
        if "$array" not in item:
            return item
        kind, start, shape = item["$array"]
        return np.frombuffer(content, kind, int(np.prod(shape)), 4 + length + start).reshape(shape)

    return json.loads(content[4 : 4 + length].decode(), object_hook=revive)


def key_of(address):
    return address.rsplit("/", 1)[1]


def test_small_values_travel_in_the_event():
    value = {"data": [1, None, "text"]}
    assert Downloads().as_payload(value) is value


@pytest.mark.parametrize("text", ["", "é", "漢字", "abc"])  # whatever it does to the place of the numbers
def test_arrays_arrive_whole(text):
    downloads = Downloads()
    scores = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    ids = np.arange(300, dtype=np.int64)
    shades = np.linspace(0, 1, 3)
    scores[2, 3] = np.nan
    sent = downloads.as_payload({"name": text, "z": [{"scores": scores.T}], "ids": ids, "shades": shades})
    value = opened(downloads.get(key_of(sent["payload"])).content)
    assert value["name"] == text
    np.testing.assert_array_equal(value["z"][0]["scores"], scores.T)
    np.testing.assert_array_equal(value["ids"], ids)
    np.testing.assert_allclose(value["shades"], shades, atol=1e-7)


def test_many_texts_do_not_travel_in_the_event_either():
    downloads = Downloads()
    sent = downloads.as_payload({"texts": ["x" * MAX_INLINE_CHARACTERS]})
    assert set(sent) == {"payload"}
    assert opened(downloads.get(key_of(sent["payload"])).content)["texts"][0][0] == "x"


def test_what_is_no_plain_data_is_refused():
    with pytest.raises(TypeError, match="set is not plain data"):
        Downloads().as_payload({"a": {1}})


def test_downloads_are_forgotten_in_time_and_the_oldest_first():
    clock = Clock()
    downloads = Downloads(max_bytes=10, kept_seconds=60, clock=clock)
    first, second = (key_of(downloads.put(Download(b"12345"))) for _ in range(2))
    assert first != second
    third = key_of(downloads.put(Download(b"1")))
    assert downloads.get(first) is None
    assert downloads.get(second).content == b"12345"
    clock.now = 61
    assert downloads.get(second) is downloads.get(third) is None


def test_what_would_push_out_the_others_is_refused():
    downloads = Downloads()
    key = key_of(downloads.put(Download(b"mine")))
    with pytest.raises(LimitError, match="65 MB; the limit is 64 MB"):
        downloads.put(Download(bytes(65_000_000)))
    assert downloads.get(key).content == b"mine"


def test_downloads_go_where_nobody_asks_any_more():
    clock = Clock()
    downloads = Downloads(kept_seconds=60, clock=clock)
    downloads.put(Download(b"12345"))
    clock.now = 59
    downloads.sweep()
    assert downloads.n_bytes == 5
    clock.now = 61
    downloads.sweep()
    assert downloads.n_bytes == 0


def test_what_was_made_for_a_page_goes_with_it():
    page = ["ann"]
    downloads = Downloads(session=lambda: page[0])
    path = downloads.new_path(".csv")
    path.write_bytes(b"a,b")
    of_ann = [downloads.put(Download(b"ann's")), downloads.add_file(FileDownload(path, "text/csv", "e5.csv"))]
    page[0] = "bob"
    of_bob = downloads.put(Download(b"bob's"))
    page[0] = None
    of_nobody = downloads.put(Download(b"a program's"))
    downloads.forget("ann")
    downloads.forget("never seen")
    assert [downloads.get(key_of(address)) for address in of_ann] == [None, None]
    assert not path.exists()
    assert downloads.get(key_of(of_bob)).content == b"bob's"
    assert downloads.get(key_of(of_nobody)).content == b"a program's"
    assert downloads.n_bytes == len(b"bob's" + b"a program's")


def test_the_route_hands_out_what_is_known_and_nothing_else():
    downloads = Downloads()
    file = Download(b"a,b", "text/csv; charset=utf-8", 'e5-"scores".csv')
    with TestClient(Starlette(routes=[download_route(downloads)])) as client:
        answer = client.get("/" + downloads.put(file))
        assert answer.content == b"a,b"
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''e5-%22scores%22.csv"
        unknown = client.get("/e5studio/downloads/guessed")
        assert unknown.status_code == 404
        assert "Press Score again" in unknown.text


class TestFiles:
    def put(self, downloads, content=b"a,b"):
        path = downloads.new_path(".csv")
        path.write_bytes(content)
        return path, downloads.add_file(FileDownload(path, "text/csv", "e5.csv"))

    def test_are_handed_out_by_the_same_route(self):
        downloads = Downloads()
        _, address = self.put(downloads)
        with TestClient(Starlette(routes=[download_route(downloads)])) as client:
            answer = client.get("/" + address)
            assert answer.content == b"a,b"
            assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''e5.csv"
            assert answer.headers["cache-control"] == "no-store"

    def test_are_deleted_in_time(self):
        clock = Clock()
        downloads = Downloads(kept_seconds=60, clock=clock)
        path, address = self.put(downloads)
        clock.now = 59
        downloads.sweep()
        assert path.exists()
        clock.now = 61
        downloads.sweep()
        assert not path.exists()
        assert downloads.get(key_of(address)) is None

    def test_the_oldest_makes_way_and_takes_no_memory(self):
        downloads = Downloads(max_bytes=5, max_file_bytes=10)
        first, _ = self.put(downloads, b"123456")
        second, address = self.put(downloads, b"123456")
        assert not first.exists()
        assert downloads.get(key_of(address)).path == second
        assert downloads.n_bytes == 0
        large, _ = self.put(downloads, b"x" * 100)
        assert large.exists(), "somebody waits for it"
