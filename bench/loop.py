"""How long one turn takes, and whether it reaches what the product promises: `python -m bench.loop`."""

import json
import subprocess
import sys
import tempfile

LIMIT_S = 480


def main() -> int:
    """Turn the loop in a fresh workspace; prints each figure beside its limit. Returns 1 when one is missed."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "organism", "loop", "--turns", "1", "--workspace", f"{folder}/w", "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        print(done.stdout)
        return 1
    turn = json.loads(done.stdout)
    rows = [
        ("seconds, the whole turn", turn["seconds"]["total"], f"under {LIMIT_S}", turn["seconds"]["total"] < LIMIT_S),
        ("retained characters before", turn["before"], "at most 0.60", turn["before"] <= 0.60),
        ("retained characters after", turn["after"], "at least 0.83", turn["after"] >= 0.83),
        ("gain, lower end of its interval", turn["gain_ci"][0], "above 0.20", turn["gain_ci"][0] > 0.20),
        ("written share, change", turn["written_share_after"] - turn["written_share_before"], "above 0",
         turn["written_share_after"] > turn["written_share_before"]),
        ("facts, change", turn["facts_after"] - turn["facts_before"], "at least -0.02",
         turn["facts_after"] >= turn["facts_before"] - 0.02),
    ]  # fmt: skip
    for name, value, limit, met in rows:
        print(f"{name:<34} {value:8.3f}   wanted {limit:<14} {'met' if met else 'MISSED'}")
    print("seconds by stage:", turn["seconds"], " experiment:", turn["experiment"])
    return 0 if all(met for *_, met in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
