"""What the columns of a stranger's file are probably for: a first question, which people then change. Pure."""

from collections.abc import Sequence

import pandas as pd

from organism.experiment.file_question import FileQuestion


def guess_question(sample: pd.DataFrame) -> FileQuestion:
    """A first question for a file from its first rows (a table of text): what its columns are probably for.

    Never raises: a question that cannot be answered yet says so when it is asked.
    """
    columns = [str(column) for column in sample.columns]
    labels = {name: sample[name].dropna() for name in columns}
    few = [name for name in columns if 2 <= labels[name].nunique() <= 10]
    variant = _named(few, VARIANT_NAMES) or next(iter(few), columns[0])
    unit = _named([name for name in columns if name != variant], UNIT_NAMES)
    numbers = [name for name in columns if name not in (variant, unit) and _are_numbers(labels[name])]
    covariates = tuple(name for name in numbers if name.lower().startswith(("pre_", "pre-", "before_", "baseline_")))
    metrics = [name for name in numbers if name not in covariates]
    levels = sorted(labels[variant].unique())
    return FileQuestion(
        variant=variant,
        unit=unit,
        control=_named(levels, CONTROL_NAMES) or next(iter(levels), None),
        metrics=tuple(metrics[:1]),
        covariates=covariates[:1],
    )


def number_columns(sample: pd.DataFrame) -> list[str]:
    """The columns whose first values are all numbers, or true and false."""
    return [str(column) for column in sample.columns if _are_numbers(sample[column].dropna())]


VARIANT_NAMES = ("variant", "variation", "arm", "group", "treatment", "bucket", "experiment_group")
UNIT_NAMES = ("user_id", "user_key", "user", "unit", "userid", "customer_id", "account_id", "visitor_id", "id")
CONTROL_NAMES = ("control", "a", "base", "baseline", "0", "false", "off")


def _named(names: Sequence[str], wanted: Sequence[str]) -> str | None:
    by_lower = {name.lower(): name for name in reversed(names)}
    return next((by_lower[word] for word in wanted if word in by_lower), None)


def _are_numbers(values: pd.Series) -> bool:
    words = values[:200]
    return len(words) > 0 and all(_is_number(str(word)) for word in words)


def _is_number(text: str) -> bool:
    if text.lower() in ("true", "false"):
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True
