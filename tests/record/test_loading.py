"""What a run notes of the modules that it loaded before it trained: CPU seconds of this process alone."""

from __future__ import annotations

import json
from pathlib import Path

from logql.store.catalog import Catalog
from tests.record.running import record

#: Work of a module that is loaded between two others of its package.
BUSY = "import time\nend = time.thread_time() + 0.2\nwhile time.thread_time() < end: pass\n"
SCRIPT = """
import sys
sys.path.insert(0, "site-packages")
import logql
from logql.record import loading
import time
found = [loading.seconds()]
import heavy
found.append(loading.seconds())
end = time.thread_time() + 0.5
while time.thread_time() < end: pass
import light
found.append(loading.seconds())
def load():
    import lazy
load()
found.append(loading.seconds())
for i in logql.loop("i", range(2)):
    logql.log("x", float(i))
print(found)
"""


def test_what_packages_do_as_they_are_loaded_counts_and_what_the_script_does_does_not(tmp_path: Path) -> None:
    for package, work in (("heavy", BUSY), ("light", ""), ("lazy", BUSY)):
        directory = tmp_path / "site-packages" / package
        directory.mkdir(parents=True)
        for name, text in (("__init__", f"from {package} import a, b, c\n"), ("a", ""), ("b", work), ("c", "")):
            (directory / f"{name}.py").write_text(text)
    first, heavy, light, lazy = json.loads(record(tmp_path, SCRIPT).stdout)
    assert heavy - first >= 0.2
    assert light - heavy < 0.5
    assert lazy - light < 0.2
    with Catalog.open(str(tmp_path / ".logql")) as catalog:
        (run,) = catalog.runs()
    noted = run.environment["loading"]
    assert isinstance(noted, dict)
    assert noted["packages"] == sorted({"heavy", "light", "lazy", *noted["packages"]})
    assert noted["seconds"] >= heavy - 0.001
