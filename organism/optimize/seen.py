"""The child process that shows rows as the model sees them: `python -m organism.optimize.seen FOLDER N`, JSON out.

FOLDER is that of a run, or one made like it. A tokenizer has no place in the process that serves pages; the tokens are
made by what makes them for the trainer.
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from organism.config import Workspace
from organism.errors import ModelError, OrganismError
from organism.optimize.catalog import RECIPES
from organism.optimize.configs import TrainingConfig
from organism.optimize.drops import Reason, why_dropped
from organism.optimize.runs import FORM_OF_KIND, Example, Labeled, Pair, Row, RunFolder, read_rows
from organism.optimize.tokens import IGNORED, Tokens, pieces, tokenized
from organism.optimize.worker import ENVIRONMENT
from organism.records import Recipe

SAMPLING = frozenset({Recipe.BEST_OF_N, Recipe.RLAIF, Recipe.GRPO})


class SeenRow(NamedTuple):
    """One text as the model sees it, token by token; joined, `tokens` are the text.

    `part` says which text of its row it is (completion, prompt, chosen, rejected, desirable, undesirable), `is_learned`
    which tokens the loss looks at, `reason` why the row is left out, None where it is not.
    """

    row: int
    interaction_id: str
    part: str
    tokens: list[str]
    is_learned: list[bool]
    n_tokens: int
    n_learned: int
    reason: str | None


class TokenPreview(NamedTuple):
    """Rows as the model sees them, and how many can be learned from; `dropped` counts the others by reason."""

    rows: list[SeenRow]
    n_rows: int
    n_usable: int
    dropped: dict[str, int]


class _Seen(NamedTuple):
    """A row's texts as tokens, and why it is left out."""

    place: int
    row: Row
    parts: dict[str, Tokens]
    reason: Reason | None


def preview_rows(base: Path, rows: Sequence[Row], recipe: Recipe, config: TrainingConfig, n: int = 5) -> TokenPreview:
    """The first n rows that are learned from and the first left out for each reason, as the model sees them.

    Raises ModelError when the base's tokenizer cannot be loaded.
    """
    tokenizer, longest = _tokenizer(base, config)
    seen = _seen(rows, recipe, tokenizer, longest)
    dropped = Counter(str(one.reason) for one in seen if one.reason is not None)
    usable = [one for one in seen if one.reason is None]
    first_of = {one.reason: one for one in reversed(seen) if one.reason is not None}
    shown = [*usable[:n], *sorted(first_of.values(), key=lambda one: one.place)]
    lines = [_shown(one, part, tokenizer, recipe) for one in shown for part in one.parts]
    return TokenPreview(lines, len(rows), len(usable), dict(dropped))


def _tokenizer(base: Path, config: TrainingConfig) -> tuple[Any, int]:
    """The base's tokenizer, and how many tokens a row may have."""
    from transformers import AutoConfig, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(base), local_files_only=True)
        reads = AutoConfig.from_pretrained(str(base), local_files_only=True).max_position_embeddings
    except Exception as error:  # transformers raises whatever the broken file leads to
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ModelError(f"the tokenizer in {base} cannot be loaded ({reason}); restore it") from error
    return tokenizer, min(config.max_length, reads)


def _seen(rows: Sequence[Row], recipe: Recipe, tokenizer: Any, longest: int) -> list[_Seen]:
    parts = [_parts(row, recipe) for row in rows]
    flat = tokenized([text for row in parts for text in row.values()], tokenizer)
    found, first = [], 0
    for place, (row, texts) in enumerate(zip(rows, parts, strict=True)):
        own = dict(zip(texts, flat[first : first + len(texts)], strict=True))
        first += len(texts)
        if recipe in SAMPLING:  # the model sees the prompt; what follows it will write itself
            own = {part: _without_text(tokens) for part, tokens in own.items()}
        n_tokens = max(len(tokens.input_ids) for tokens in own.values())
        found.append(_Seen(place, row, own, why_dropped(row, n_tokens, longest)))
    return found


def _parts(row: Row, recipe: Recipe) -> dict[str, Example]:
    match row:
        case Pair():
            texts = {"chosen": row.chosen, "rejected": row.rejected}
        case Labeled():
            texts = {"desirable" if row.label else "undesirable": row.completion}
        case Example():
            texts = {"prompt" if recipe in SAMPLING else "completion": row.completion}
    return {part: Example(row.prompt, text, row.user_key, row.interaction_id) for part, text in texts.items()}


def _without_text(tokens: Tokens) -> Tokens:
    n_prompt = len(tokens.labels) - tokens.n_targets
    return Tokens(tokens.input_ids[:n_prompt], tokens.labels[:n_prompt])


def _shown(seen: _Seen, part: str, tokenizer: Any, recipe: Recipe) -> SeenRow:
    tokens = seen.parts[part]
    learned = [label != IGNORED for label in tokens.labels]
    if recipe is Recipe.REWARD_MODEL:  # a judge is asked once, at the end
        learned = [False] * (len(learned) - 1) + [True]
    words = pieces(tokens.input_ids, tokenizer)
    interaction = seen.row.interaction_id
    return SeenRow(seen.place, interaction, part, words, learned, len(words), sum(learned), seen.reason)


def main(folder: Path, n: int) -> int:
    """Print what `preview_rows` finds for the run in this folder; a sentence and 1 when something is broken."""
    os.environ.update(ENVIRONMENT)
    run = RunFolder(folder)
    try:
        recipe, config = run.recipe(), run.config()
        rows = read_rows(folder / "data.jsonl", FORM_OF_KIND[RECIPES[recipe].kind])
        found = preview_rows(Workspace(run.workspace).locate(config.base), rows, recipe, config, n)
    except OrganismError as error:
        print(error, file=sys.stderr)
        return 1
    json.dump({**found._asdict(), "rows": [row._asdict() for row in found.rows]}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
