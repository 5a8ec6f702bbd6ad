"""`python -m bench.propagate --cases 3000 REPOSITORY[:SUBDIRECTORY] ...`

A statement that stands in a newer and in an older version of a file is taken out of the older one and must come back
where it was, with what was taken out along with it; a statement whose names the older version lacks must be refused.
Files are divided by a hash of repository and path: `--half develop` (default) is for looking at failures, `--half held`
for totals only.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Sequence

from bench.propagate.cases import gather
from bench.propagate.report import Answer, judge, tell


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("repositories", nargs="+")
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--half", choices=("develop", "held", "all"), default="develop")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=0, help="print so many failures (never of the held half)")
    options = parser.parse_args(argv)
    cases = gather(options.repositories, options.cases, options.half, options.seed)
    gc.collect()
    gc.freeze()  # the benchmark's own heap is no part of what a placement costs
    answers = [judge(case) for case in cases]
    tell(answers)
    if options.half == "develop":
        for answer in [answer for answer in answers if answer.bad][: options.show]:
            _show(answer)
    return 0


def _show(answer: Answer) -> None:
    case = answer.case
    where = f"{case.path}:{case.line} {case.new_commit[:8]} -> {case.old_commit[:8]}{' (copy)' if case.forked else ''}"
    print(f"\n{answer.verdict} {case.stratum} {where} {answer.said}")
    print("   ", case.statement[:200])
    print("\n".join("    " + line for line in answer.diff.splitlines()[2:14]))


if __name__ == "__main__":
    sys.exit(main())
