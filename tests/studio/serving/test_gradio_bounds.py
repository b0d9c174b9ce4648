"""What Gradio takes without bounds is bounded; each inner name of Gradio that is used for it has its old shape."""

from __future__ import annotations

import asyncio
import inspect
import logging
from pathlib import Path

import gradio as gr
import pytest
from gradio import route_utils, routes
from starlette.datastructures import Headers

from e5studio.studio.serving.gradio_bounds import MAX_FILES_OF_UPLOAD, UploadParser, UploadProgress, bound_gradio
from e5studio.studio.serving.gradio_patches import LeanBlocks
from e5studio.studio.serving.log_limit import limit_log_lines, shorten_error

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("gradio_litter"),
]


def part(name="a.csv", field="files", content=b"text"):
    file_name = f'; filename="{name}"' if name is not None else ""
    return b'--b\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n' % (
        field.encode(),
        file_name.encode(),
        content,
    )


async def parsed(folder, *chunks):
    async def stream():
        for chunk in chunks:
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk

    headers = Headers({"content-type": "multipart/form-data; boundary=b"})
    form = await UploadParser(headers, stream(), upload_dir=folder, max_file_size=1000).parse()
    files = [file for _, file in form.multi_items()]
    for file in files:
        await file.close()
    return files


class TestUploads:
    async def test_a_few_files_are_taken(self, tmp_path):
        files = await parsed(tmp_path, *[part(f"{n}.csv") for n in range(MAX_FILES_OF_UPLOAD)], b"--b--\r\n")
        assert [file.filename for file in files] == [f"{n}.csv" for n in range(MAX_FILES_OF_UPLOAD)]

    @pytest.mark.parametrize(
        "chunks",
        [
            [part()] * (MAX_FILES_OF_UPLOAD + 1),
            [part(), part(None, content=b"x" * 10**6)],  # would be held in memory
            [part(), part(field="other")],  # nobody would collect it
            [part(content=b"x" * 1001)],
            [b'--b\r\nContent-Disposition: form-data; filename="' + b"x" * 9000],
        ],
    )
    async def test_whatever_else_is_refused_and_leaves_nothing(self, tmp_path, chunks):
        with pytest.raises(route_utils.MultiPartException):
            await parsed(tmp_path, *chunks, b"--b--\r\n")
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("end", [ConnectionError(), asyncio.CancelledError()])
    async def test_one_that_breaks_off_leaves_nothing(self, tmp_path, end):
        async def break_off():
            await parsed(tmp_path, part()[:-4], end)

        with pytest.raises(type(end)):
            await break_off()
        assert not list(tmp_path.iterdir())

    async def test_progress_is_remembered_of_so_many_and_of_no_unknown(self):
        progress = UploadProgress()
        for number in range(3000):
            progress.append(str(number), "a.csv", b"x")
        assert len(progress._statuses) == len(progress._signals) == 1000
        for number in range(2):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(progress.is_tracked(f"unknown {number}"), 0.001)
        assert len(progress._signals) == 1000
        assert await progress.is_tracked("2999")
        progress.stop_tracking("2999")
        assert "2999" not in progress._signals


class TestErrors:
    async def test_a_forged_value_is_not_repeated_whole(self):
        with LeanBlocks() as demo:
            menu = gr.Dropdown(["a", "b"])
            menu.input(lambda value: value, menu, None)
        with pytest.raises(gr.Error) as caught:
            await demo.process_api(0, ["B" * 7_000_000])
        assert "BBB" not in caught.value.message
        assert "Value: BBB" in caught.value.__cause__.message
        assert len(caught.value.__cause__.message) < 3_000 > len(str(caught.value.__cause__))

    def test_nor_is_what_led_to_an_error(self):
        error = ValueError("y" * 10_000)
        error.__cause__ = KeyError("x" * 10_000)
        shorten_error(error)
        assert len(str(error)) < 2_100 > len(str(error.__cause__))
        assert "10,000 characters" in str(error)

    def test_no_line_of_the_log_is_longer_than_a_page(self, caplog):
        factory = logging.getLogRecordFactory()
        try:
            limit_log_lines()
            limit_log_lines()
            log = logging.getLogger("any")
            log.warning("of %s: %s", "somebody", "x" * 10**6)
            log.warning("short %d", 1)
            try:
                raise ValueError("z" * 10**6)
            except ValueError:
                log.exception("an error")
        finally:
            logging.setLogRecordFactory(factory)
        assert [len(message) for message in caplog.messages] == [2_027, 7, 8]
        assert len(caplog.text) < 10_000


# The contract with Gradio.


def test_the_server_is_made_of_these_names():
    assert "GradioMultiPartParser(" in inspect.getsource(route_utils.upload_fn)
    assert "file_upload_statuses" in inspect.getsource(routes.App.create_app)
    assert "traceback.print_exc()" in inspect.getsource(routes.App.create_app)


def test_they_are_replaced_for_gradio_alone(monkeypatch):
    for module, name in (
        (route_utils, "GradioMultiPartParser"),
        (routes, "file_upload_statuses"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name))
    bound_gradio()
    assert Path(inspect.getfile(route_utils.GradioMultiPartParser)).name == "gradio_bounds.py"
