"""What workers are given: environment, interpreter, threads, GPUs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from logql.model import Run
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
    assert gpus.choose(found, ["GPU-a"]) == "GPU-c"
    assert gpus.choose(found, ["GPU-a", "GPU-c"]) is None
    assert environment.own_variables(None, "GPU-c") == {"CUDA_VISIBLE_DEVICES": "GPU-c"}
    for visible, allowed in (("2,1", "GPU-c GPU-b"), ("GPU-a,7,1", "GPU-a"), ("MIG-x", "MIG-x"), ("", ""), ("-1", "")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert list(gpus.list_gpus()) == allowed.split()
    assert gpus.uses_gpu(_run(accelerators=["NVIDIA"]))
    assert not gpus.uses_gpu(_run(accelerators=[]))
