"""How many cores a process may use, and that computing takes turns."""

from __future__ import annotations

import os

import pytest

from e5studio import cpu
from e5studio.encoder import E5Encoder
from e5studio.errors import BackendError


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.max": "nonsense"}, None),
        ({}, None),
    ],
)
def test_a_container_s_share_counts(tmp_path, files, expected):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert cpu._quota(tmp_path, tmp_path / "cgroup") == expected


def test_threads_are_the_cores_that_may_be_used(monkeypatch):
    monkeypatch.delenv("E5STUDIO_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    monkeypatch.setattr(cpu, "_n_cores", len)
    monkeypatch.setattr(cpu, "_quota", lambda: None)
    assert cpu.n_threads() == 64
    monkeypatch.setattr(cpu, "_quota", lambda: 2)
    assert cpu.n_threads() == 2


def test_two_threads_of_one_core_are_one(tmp_path):
    for number, siblings in enumerate(["0,2", "1,3", "0,2", "1,3"]):
        (tmp_path / f"cpu{number}" / "topology").mkdir(parents=True)
        (tmp_path / f"cpu{number}" / "topology" / "thread_siblings_list").write_text(f"{siblings}\n")
    assert cpu._n_cores([0, 1, 2, 3], tmp_path) == 2
    assert cpu._n_cores([0, 1], tmp_path) == 2
    assert cpu._n_cores([0, 2], tmp_path) == 1
    assert cpu._n_cores(range(8), tmp_path / "nothing") == 8


def test_a_group_above_may_have_less(tmp_path):
    cgroup_file = tmp_path / "cgroup"
    cgroup_file.write_text("0::/jobs/one\n")
    inner = tmp_path / "jobs" / "one"
    inner.mkdir(parents=True)
    (inner / "cpu.max").write_text("800000 100000\n")
    assert cpu._quota(tmp_path, cgroup_file) == 8
    (inner.parent / "cpu.max").write_text("300000 100000\n")
    assert cpu._quota(tmp_path, cgroup_file) == 3


def test_a_forked_process_has_one_thread(monkeypatch):
    monkeypatch.delenv("E5STUDIO_THREADS", raising=False)
    monkeypatch.setattr(cpu, "_is_forked", True)
    assert cpu.n_threads() == 1
    monkeypatch.setenv("E5STUDIO_THREADS", "3")
    assert cpu.n_threads() == 3


@pytest.mark.parametrize("given", ["0", "many", "-1", "²", "1.5"])
def test_the_environment_s_nonsense_is_refused(monkeypatch, given):
    monkeypatch.setenv("E5STUDIO_THREADS", given)
    with pytest.raises(BackendError, match=r"is no number of threads\. Set it to 1 or more"):
        cpu.n_threads()


@pytest.mark.parametrize(("given", "expected"), [("3", 3), (" 4 ", 4), ("", 2)])
def test_the_environment_decides(monkeypatch, given, expected):
    monkeypatch.setenv("E5STUDIO_THREADS", given)
    monkeypatch.setattr(cpu, "_n_cores", len)
    monkeypatch.setattr(cpu, "_quota", lambda: 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert cpu.n_threads() == expected


@pytest.mark.parametrize("backend", ["torch", "openvino", "onnx"])
def test_models_take_turns(checkpoints, monkeypatch, tmp_path, backend):
    pytest.importorskip(backend)
    monkeypatch.setenv("E5STUDIO_CACHE", str(tmp_path))
    made = checkpoints("e5")
    encoder = E5Encoder(made.meta, path=made.folder, backend=backend, device="cpu")
    n_passes = 0

    class Counted:
        def __enter__(self) -> None:
            nonlocal n_passes
            n_passes += 1

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(cpu, "_compute_lock", Counted())
    encoder.with_options(token_budget=4).encode_query(["a", "b", "c d e f"])
    assert n_passes == 3
