"""Run every benchmark and print one table: each row is a hot path against a named peer, measured in the same run."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import benchmarks


def main() -> int:
    names = [item.name for item in pkgutil.iter_modules(benchmarks.__path__) if not item.name.startswith("_")]
    wanted = [name for name in names if not sys.argv[1:] or name in sys.argv[1:]]
    for name in wanted:
        print(f"\n== {name}", flush=True)
        importlib.import_module(f"benchmarks.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
