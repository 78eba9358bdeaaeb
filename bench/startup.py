"""What starting costs: CPU seconds of `alif --help` and `import alif_kit`, side by side with `python -c pass`, in one run.

    python bench/startup.py [--times 7]

Each command is started as a process of its own, in turn, so that a busy machine slows all alike; the median of its user and system
seconds is shown, and how much that is above a bare Python. The kit promises 0.3 s for the first and 0.1 s for the second.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import alif_kit": ["-c", "import alif_kit"],
    "alif --help": ["-m", "alif_kit.cli", "--help"],
    "alif config": ["-m", "alif_kit.cli", "config"],
}


def seconds(arguments: list[str]) -> float:
    """User and system CPU seconds of one Python process and its children."""
    before = os.times()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    return (after.children_user - before.children_user) + (after.children_system - before.children_system)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--times", type=int, default=7, help="Starts of each command.")
    times = parser.parse_args().times
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(times + 1):
        for name, arguments in COMMANDS.items():
            taken[name].append(seconds(arguments))
    bare = statistics.median(taken["python -c pass"][1:])  # the first start of each fills the caches
    print(f"| command | CPU s, median of {times} | above a bare Python |\n|---|---|---|")
    for name, all_taken in taken.items():
        median = statistics.median(all_taken[1:])
        print(f"| `{name}` | {median:.2f} | {median - bare:+.2f} |")


if __name__ == "__main__":
    main()
