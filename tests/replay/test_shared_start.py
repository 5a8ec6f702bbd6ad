"""Replays that start as forks of a process which has imported what they import: as good as fresh ones, or fresh."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from logql.replay.checkout import Tree
from logql.replay.job import Job, Options, Result
from logql.replay.leading import common_start, in_turn, later_imports, leading_imports, serves
from logql.replay.pool import LocalPool
from logql.replay.process import WorkerProcess
from logql.replay.start import Fresh, Server
from tests.replay.conftest import ROOT, Project, after, values

SCRIPT = """\
import random
import sys
{imports}
import logql

logql.arg("lr", 0.5)
random.seed(len(sys.argv))
x = 0.0
for epoch in logql.loop("epoch", range(4)):
    x += random.random()
    logql.log("loss", x)
"""
EDIT = after('logql.log("loss"', 'logql.log("twice", 2 * x)')
RUNS = 2


def _history(project: Project, imports: str = "import numpy as np", path: str = ROOT) -> list[Job]:
    project.write("train.py", SCRIPT.format(imports=imports))
    for number in range(RUNS):
        project.run("train.py", *["more"] * number, PYTHONPATH=path)
    return [project.job(EDIT, ["twice"], (1, 3), once=True, run=run) for run in range(RUNS)]


def _installed(tmp_path: Path, text: str) -> str:
    """A directory with an installed module `thing`."""
    place = tmp_path / "site-packages"
    place.mkdir()
    (place / "thing.py").write_text(text)
    return f"{ROOT}{os.pathsep}{place}"


def _check(results: list[Result], truth: list[Result]) -> None:
    assert [(one.state, one.fidelity, one.error) for one in results] == [("done", "exact", None)] * RUNS
    assert [values(one.events, "twice") for one in results] == [values(one.events, "twice") for one in truth]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How processes were started, in their order."""
    found: list[str] = []

    def spy(kind: type[Fresh] | type[Server], word: str) -> None:
        start = kind.start

        def noting(self: object, *arguments: object) -> object:
            found.append(word)
            return start(self, *arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(kind, "start", noting)

    spy(Fresh, "fresh")
    spy(Server, "forked")
    return found


@pytest.mark.parametrize("isolation", ["strong", "weak"])
def test_replays_of_a_version_are_forks_and_find_what_fresh_ones_find(
    project: Project, served: list[str], isolation: str
) -> None:
    jobs = _history(project)
    options = Options(workers=2, isolation=isolation)  # type: ignore[arg-type]
    results = project.replay(*jobs, options=options)
    assert served == ["forked"] * RUNS
    apart = Options(workers=2, isolation=isolation, share_imports=False)  # type: ignore[arg-type]
    truth = project.replay(
        *(project.job(EDIT, ["twice"], (1, 3), once=True, run=run) for run in range(RUNS)), options=apart
    )
    assert served[RUNS:] == ["fresh"] * RUNS
    _check(results, truth)


def test_versions_that_begin_alike_share_a_process(project: Project, served: list[str]) -> None:
    jobs, more = [], ("", "from numpy.random import default_rng", "import json", "import numpy.fft, argparse")
    for number, line in enumerate(more):
        project.write("train.py", SCRIPT.format(imports=f"import numpy as np\n{line}"))
        project.run(PYTHONPATH=ROOT)
        jobs.append(project.job(EDIT, ["twice"], (1, 3), once=True, run=number))
    results = project.replay(*jobs, options=Options(workers=1))
    assert [(one.state, one.fidelity) for one in results] == [("done", "exact")] * len(more)
    assert served == ["fresh", "forked", "forked", "forked"]


NUMPY, TORCH, NN, OPTIM, JSON = ("numpy", ()), ("torch", ()), ("torch", ("nn",)), ("torch", ("optim",)), ("json", ())


def test_what_scripts_load_first_in_common() -> None:
    assert in_turn([("torch.nn", ("functional",)), ("torch", ("nn", "optim"))]) == (
        *(TORCH, ("torch.nn", ()), ("torch.nn", ("functional",)), NN, OPTIM),
    )
    assert common_start([JSON, NUMPY, TORCH, NN], [NUMPY, TORCH, OPTIM, JSON]) == (JSON, NUMPY, TORCH)
    assert common_start([NUMPY, TORCH], [TORCH, NUMPY]) == ()
    assert common_start([NUMPY, TORCH, NN], [NUMPY, OPTIM, NN, TORCH]) == (NUMPY, TORCH, NN)
    assert serves([NUMPY, TORCH], [JSON, NUMPY, TORCH, NN])
    assert not serves([NUMPY], [NUMPY, TORCH])
    assert not serves([JSON, NUMPY], [NUMPY])
    assert not serves([NUMPY, TORCH, NN], [NUMPY, TORCH, OPTIM])


def test_a_single_replay_has_a_process_of_its_own(project: Project, served: list[str]) -> None:
    project.replay(_history(project)[0])
    assert served == ["fresh"]


TRACES = {
    "file": "open('{mark}', 'w').close()",
    "directory": "import os; os.mkdir('{mark}')",
    "program": "import subprocess; subprocess.run(['touch', '{mark}'])",
    "descriptor": "kept = open(__file__)",
    "thread": "import threading, time; threading.Thread(target=time.sleep, args=(600,), daemon=True).start()",
    "arguments": "import sys; given = list(sys.argv)",
    "seed": "import random; random.seed(1)",
}


LOAD = """\
import sys
sys.path[:0] = [{root!r}, {place!r}]
from logql.replay import forkserver
forkserver.load([["json", []], ["thing", []]])
"""


@pytest.mark.parametrize("trace", [*TRACES, "none"])
def test_a_module_that_leaves_a_trace_is_not_loaded_ahead(tmp_path: Path, trace: str) -> None:
    mark = tmp_path / "mark"
    _installed(tmp_path, TRACES.get(trace, "x = 1").format(mark=mark))
    program = LOAD.format(root=ROOT, place=str(tmp_path / "site-packages"))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode == 0) == (trace == "none"), done.stderr
    assert not mark.exists()


def test_replays_start_afresh_where_a_module_leaves_a_trace(
    project: Project, tmp_path: Path, served: list[str]
) -> None:
    jobs = _history(project, "import thing", _installed(tmp_path, ""))
    (tmp_path / "site-packages" / "thing.py").write_text(TRACES["file"].format(mark=tmp_path / "mark"))
    results = project.replay(*jobs, options=Options(workers=1))
    assert [(one.fidelity, one.error) for one in results] == [("exact", None)] * RUNS
    assert served.count("fresh") == RUNS
    assert not (tmp_path / "mark").exists()


def test_what_a_module_prints_is_in_every_log(project: Project, tmp_path: Path, served: list[str]) -> None:
    path = _installed(tmp_path, "print('thing is here')")
    results = project.replay(*_history(project, "import thing", path))
    assert served == ["forked"] * RUNS
    assert ["thing is here" in project.log(result) for result in results] == [True] * RUNS


def test_a_module_that_kills_its_process_costs_only_the_server(
    project: Project, tmp_path: Path, served: list[str]
) -> None:
    path = _installed(tmp_path, "")
    jobs = _history(project, "import thing", path)
    module = tmp_path / "site-packages" / "thing.py"
    module.write_text("import os, sys\nif 'supervise' not in ' '.join(sys.orig_argv): os._exit(3)\n")
    results = project.replay(*jobs, options=Options(workers=2))
    assert [one.fidelity for one in results] == ["exact"] * RUNS
    assert served.count("fresh") == RUNS


def test_modules_of_the_project_are_loaded_in_the_private_view_alone(project: Project, served: list[str]) -> None:
    (project.path / "out").mkdir()
    project.write("own.py", "NUMBER = 1\nopen('out/loaded', 'a').write('x')\n")
    jobs = _history(project, "import own")
    before = (project.path / "out/loaded").read_text()
    assert [one.fidelity for one in project.replay(*jobs)] == ["exact"] * RUNS
    assert served == ["forked"] * RUNS
    assert (project.path / "out/loaded").read_text() == before


def test_a_module_of_the_project_that_hides_an_installed_one_is_found(project: Project, served: list[str]) -> None:
    project.write("colorsys.py", "own = True\n")
    jobs = _history(project, "import thing", _installed(project.path.parent, "import colorsys\ncolorsys.own\n"))
    assert [one.fidelity for one in project.replay(*jobs)] == ["exact"] * RUNS
    assert "fresh" in served


def _gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


POOL = """\
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from logql.replay.job import Options
from logql.replay.pool import LocalPool
from tests.replay.conftest import Project
from tests.replay.test_shared_start import EDIT, RUNS
project = Project(Path({project!r}))
pool = LocalPool(project.store, {project!r}, Options(workers=1))
for run in range(RUNS):
    pool.submit(project.job(EDIT, ["twice"], (1, 3), once=True, run=run))
for _ in pool.results():
    pass
"""
HANGING = "import os, sys\nif 'supervise' not in ' '.join(sys.orig_argv):\n    while True: pass\n"


def test_a_server_that_never_finishes_loading_dies_with_its_pool(project: Project, tmp_path: Path) -> None:
    _history(project, "import thing", _installed(tmp_path, ""))
    (tmp_path / "site-packages" / "thing.py").write_text(HANGING)
    program = POOL.format(root=ROOT, project=str(project.path))
    pool = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
    try:
        children = Path(f"/proc/{pool.pid}/task/{pool.pid}/children")
        deadline = time.monotonic() + 60
        while not (found := children.read_text().split()) and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        pool.send_signal(signal.SIGKILL)
        pool.wait()
    assert found
    deadline = time.monotonic() + 30
    while not all(_gone(int(pid)) for pid in found) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert all(_gone(int(pid)) for pid in found)


def test_a_replay_whose_server_never_finishes_loading_times_out(project: Project, tmp_path: Path) -> None:
    jobs = _history(project, "import thing", _installed(tmp_path, ""))
    (tmp_path / "site-packages" / "thing.py").write_text(HANGING)
    pool = LocalPool(project.store, str(project.path), Options(workers=1))
    for job in jobs:
        pool.submit(Job(**{**vars(job), "timeout_s": 0.5}))
    results = pool.results()
    first = next(item for item in results if isinstance(item, Result))
    results.close()
    assert (first.state, first.error) == ("failed", "it took longer than 0 s")


def test_a_killed_server_fails_what_it_forked_and_the_rest_starts_afresh(
    project: Project, served: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = _history(project)
    poll = WorkerProcess.poll

    def killing(self: WorkerProcess) -> object:
        pid = self._process.pid
        if served == ["forked"] and pid is not None:
            server = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            os.kill(server, signal.SIGKILL)
            while not _gone(server):
                time.sleep(0.01)
        return poll(self)

    monkeypatch.setattr(WorkerProcess, "poll", killing)
    results = project.replay(*jobs, options=Options(workers=1))
    assert [one.state for one in results].count("done") >= RUNS - 1
    assert served.count("fresh") >= RUNS - 1


def _tree(tmp_path: Path, files: dict[str, str]) -> Tree:
    for name, text in files.items():
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return Tree(str(tmp_path), frozenset(files), (), ())


PROGRAMS: dict[str, tuple[dict[str, str], list[tuple[str, tuple[str, ...]]]]] = {
    "as they stand": (
        {"a.py": "'''doc'''\nfrom __future__ import annotations\nimport x.y as z, w\nfrom v import p, q\n"},
        [("x.y", ()), ("w", ()), ("v", ("p", "q"))],
    ),
    "up to an effect": (
        {"a.py": "import x\nN = 3\nimport os\nos.environ['A'] = '1'\nimport torch\n"},
        [("x", ()), ("os", ())],
    ),
    "not in branches": (
        {"a.py": "import x\ntry:\n    import y\nexcept ImportError:\n    y = None\nimport z\n"},
        [("x", ())],
    ),
    "through modules": (
        {"a.py": "import x\nimport own\nimport z\n", "own.py": "import y\nclass A(y.B):\n    n = 1\n"},
        [("x", ()), ("y", ()), ("z", ())],
    ),
    "up to an effect in a module": ({"a.py": "import own\nimport z\n", "own.py": "import y\ny.set()\n"}, [("y", ())]),
    "through packages": (
        {
            "a.py": "from p import m\nimport z\n",
            "p/__init__.py": "import x\n",
            "p/m.py": "from . import n\nfrom .n import k\nimport y\n",
            "p/n.py": "import w\nk = 1\n",
        },
        [("x", ()), ("w", ()), ("y", ()), ("z", ())],
    ),
    "up to a decorator that is called": ({"a.py": "import x\n@x.wrap(1)\ndef f(): ...\nimport z\n"}, [("x", ())]),
    "not in what cannot be read": ({"a.py": "import x\nimport (\n"}, []),
    "up to a directory": ({"a.py": "import x\nimport data\nimport z\n", "data/b.txt": ""}, [("x", ())]),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_leading_imports(tmp_path: Path, name: str) -> None:
    files, expected = PROGRAMS[name]
    assert list(leading_imports(_tree(tmp_path, files), str(tmp_path), "a.py", "")) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import torch\ntorch.optim.SGD", (("torch._dynamo", ()),)),
        ("import torch\nimport os\nos.environ['X'] = '1'\ntorch.optim.SGD", ()),
        ("import torch\n", ()),
    ],
)
def test_imports_that_come_later(tmp_path: Path, text: str, expected: object) -> None:
    assert later_imports(_tree(tmp_path, {"a.py": text}), [("torch", ())]) == expected
