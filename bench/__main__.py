"""`python -m bench [NAME …] [--OPTION …]`: run the named benchmarks, or all of them, one after the other.

Options go to each of those that are named: `python -m bench train --recipe dpo`.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAMES = sorted(file.stem for file in HERE.glob("*.py") if not file.stem.startswith("_"))


def main(arguments: list[str]) -> int:
    """Returns how many benchmarks missed their limit or failed."""
    first = next((place for place, word in enumerate(arguments) if word.startswith("-")), len(arguments))
    wanted, options = arguments[:first], arguments[first:]
    if unknown := sorted(set(wanted) - set(NAMES)):
        print(f"no benchmark {', '.join(unknown)}; there are: {', '.join(NAMES)}", file=sys.stderr)
        return 2
    failed = 0
    for name in wanted or NAMES:
        print(f"\n== {name}", flush=True)
        command = [sys.executable, "-m", f"bench.{name}", *options]
        failed += subprocess.run(command, cwd=HERE.parent, check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
