"""What workers are given: environment, interpreter, threads, GPUs."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from logql.model import Run
from logql.record import environment as recorded
from logql.replay import environment, gpus
from logql.threads import recorded_threads


def _run(**recorded: object) -> Run:
    return Run("r", "v", "train.py", ("train.py",), "finished", 0.0, "/p", "/p", environment=recorded)


def test_recorded_variables_replace_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "1")
    monkeypatch.setenv("LOGQL_ARGS", "lr=9")
    monkeypatch.setenv("OWN", "kept")
    run = _run(variables={"TZ": "UTC", "OMP_NUM_THREADS": "3"}, threads={"cpus": 8, "omp": 3, "openblas": 2})
    found = environment.worker_environment(run)
    assert (found["TZ"], found["OWN"], found["LOGQL_REPLAY"], found["WANDB_MODE"]) == ("UTC", "kept", "1", "disabled")
    assert "PYTHONHASHSEED" not in found
    assert "LOGQL_ARGS" not in found
    assert (found["OMP_NUM_THREADS"], found["OPENBLAS_NUM_THREADS"], found["MKL_NUM_THREADS"]) == ("3", "2", "3")


def test_threads_that_libraries_took_by_themselves_are_set() -> None:
    found = environment.worker_environment(_run(variables={}, threads={"cpus": 6}))
    assert found["OMP_NUM_THREADS"] == "6"
    assert environment.worker_environment(_run(threads={"cpus": 6}), threads=2)["OMP_NUM_THREADS"] == "2"
    assert recorded_threads(_run()) is None
    assert recorded_threads(_run(threads={"cpus": 6})) == 1
    assert recorded_threads(_run(threads={"cpus": 6, "openblas": 6})) == 6


def test_the_recorded_interpreter_is_used_where_it_is() -> None:
    assert environment.interpreter(_run(executable=sys.executable)) == sys.executable
    gone = _run(executable="/nowhere/python")
    assert environment.interpreter(gone) == sys.executable
    assert "is gone" in environment.differences(gone)[0]
    assert environment.interpreter_flags(_run(flags=["-O", "-E", "-X", "dev"])) == ["-O", "-X", "dev"]


def test_other_packages_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logql.record.environment.packages", lambda: {"numpy": "2.0", "black": "2"})
    run = _run(executable=sys.executable, packages={"numpy": "1.26", "black": "1"})
    assert environment.differences(run) == ["numpy was 1.26 and is 2.0"]


def test_busy_gpus_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(
        '#!/bin/sh\ncase "$1" in *compute*) echo GPU-b;; *) printf "0, GPU-a\\n1, GPU-b\\n2, GPU-c\\n";; esac\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    found = gpus.list_gpus()
    assert found == {"GPU-a": True, "GPU-b": False, "GPU-c": True}
    one = _run(accelerators=["H100"])
    assert gpus.choose(one, found, ["GPU-a"]) == gpus.Devices(("GPU-c",), ("GPU-c",))
    assert gpus.choose(one, found, ["GPU-a", "GPU-c"]) is None
    for visible, allowed in (("2,1", "GPU-c GPU-b"), ("GPU-a,7,1", "GPU-a"), ("MIG-x", "MIG-x"), ("", ""), ("-1", "")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert list(gpus.list_gpus()) == allowed.split()


def test_a_script_sees_as_many_gpus_as_it_did_and_those_that_it_used_are_its_own() -> None:
    here = {"a": True, "b": False, "c": True, "d": True}
    seen = ["H100"] * 3
    first = gpus.choose(_run(accelerators=seen, devices=[1]), here, ["a"])
    assert first == gpus.Devices(("c",), ("a", "c", "b"))
    assert environment.own_variables(None, first) == {"CUDA_VISIBLE_DEVICES": "a,c,b"}
    assert gpus.choose(_run(accelerators=seen, devices=[0, 2]), here, ()) == gpus.Devices(("a", "c"), ("a", "b", "c"))
    assert gpus.choose(_run(accelerators=seen, devices=[0, 1, 2]), here, ("d",)) is None
    assert gpus.choose(_run(accelerators=seen), here, ()) == gpus.Devices(("a",), ("a", "b", "c"))
    assert gpus.choose(_run(accelerators=seen, devices=[2]), {"a": True}, ()) == gpus.Devices(("a",), ("a",))
    assert gpus.uses_gpu(_run(accelerators=["NVIDIA"]))
    assert not gpus.uses_gpu(_run(accelerators=[]))


def test_the_devices_that_a_script_computed_on_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = SimpleNamespace(
        is_initialized=lambda: True,
        device_count=lambda: 3,
        get_device_name=lambda device: f"H{device}",
        memory_stats=lambda device: {"allocated_bytes.all.allocated": 512 * (device != 0)},
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert (recorded.accelerators(), recorded.devices()) == (["H0", "H1", "H2"], [1, 2])
    monkeypatch.setattr(cuda, "is_initialized", lambda: False)
    assert (recorded.accelerators(), recorded.devices()) == ([], [])
