"""Rows as the model sees them: token ids, and which of them are learned. No torch, so that a preview costs little."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from organism.lm.framing import framed
from organism.optimize.runs import Example

IGNORED = -100


class Tokens(NamedTuple):
    """One row as the model sees it; labels are IGNORED on the prompt. weight is how much it counts, 1 on average."""

    input_ids: list[int]
    labels: list[int]
    weight: float = 1.0

    @property
    def n_targets(self) -> int:
        return sum(label != IGNORED for label in self.labels)


def tokenized(examples: Sequence[Example], tokenizer: Any) -> list[Tokens]:
    """Prompt in the chat template, then the final text and the end token; the prompt is not learned."""
    if not examples:
        return []
    heads = tokenizer(framed([row.prompt for row in examples], tokenizer), add_special_tokens=False).input_ids
    tails = tokenizer([example.completion for example in examples], add_special_tokens=False).input_ids
    end = tokenizer.eos_token_id
    return [
        Tokens([*head, *tail, end], [IGNORED] * len(head) + [*tail, end], row.weight)
        for head, tail, row in zip(heads, tails, examples, strict=True)
    ]


def pieces(ids: Sequence[int], tokenizer: Any) -> list[str]:
    """The text that each token adds; joined they are the text. A character of several tokens is the last one's."""
    shown, found = "", []
    for end in range(1, len(ids) + 1):
        text = tokenizer.decode(ids[:end])
        is_whole = not text.endswith("\ufffd") or end == len(ids)
        found.append(text[len(shown) :] if is_whole else "")
        shown = text if is_whole else shown
    return found
