"""Run every benchmark and print one table: each row is a hot path against a named peer, measured in the same run.

    python -m benchmarks                                   all of them, at their usual sizes
    python -m benchmarks sampling_chain --rows 10000000    one of them, with its options

Every benchmark is a process of its own with the malloc variables and one thread a library, so that both sides of every
ratio run under the same conditions and no peak memory is another's.
"""

from __future__ import annotations

import ast
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import benchmarks

ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": "268435456",
    "MALLOC_TRIM_THRESHOLD_": "1073741824",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}


def names() -> list[str]:
    """Return the benchmarks: the modules here without a leading underscore."""
    return [item.name for item in pkgutil.iter_modules(benchmarks.__path__) if not item.name.startswith("_")]


def headline(name: str) -> str:
    """Return the first line of a benchmark's docstring, which names its peers."""
    tree = ast.parse(Path(benchmarks.__path__[0], f"{name}.py").read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").partition("\n")[0]


def main(arguments: list[str]) -> int:
    known = names()
    chosen = [word for word in arguments if word in known]
    options = [word for word in arguments if word not in known]
    if options and len(chosen) != 1:
        print(f"{' '.join(options)}: options belong to one benchmark; name one of {', '.join(known)}", file=sys.stderr)
        return 2
    failed = []
    for name in chosen or known:
        print(f"\n== {name}: {headline(name)}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", *options]
        if subprocess.run(command, env=os.environ | ENVIRONMENT, check=False).returncode:
            failed.append(name)
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
