"""The index of formulas in docs/stats.md names what exists."""

import re
from importlib import import_module
from pathlib import Path

INDEX = Path(__file__).parents[3] / "docs" / "stats.md"


def test_every_function_that_the_index_names_is_there_and_every_module_of_experiments_is_named():
    module, named = None, set()
    for row in re.findall(r"^\| (?:`(\w+)` )?\| (.*?) \|", INDEX.read_text(encoding="utf-8"), re.MULTILINE):
        if row[0]:
            named.add(row[0])
            module = import_module(f"organism.stats.{row[0]}")
        for function in re.findall(r"`(\w+)`", row[1]):
            assert hasattr(module, function), f"{module} has no {function}"
    wanted = {"compare", "proportion", "cuped", "quantile", "margins", "winsor", "sequential", "srm", "multiplicity"}
    assert wanted | {"bayes", "heterogeneity", "power", "moments"} <= named
