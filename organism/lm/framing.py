"""How a prompt is put before the model: the same way for training, evaluation and serving."""

from collections.abc import Sequence
from typing import Any


def framed(prompts: Sequence[str], tokenizer: Any) -> list[str]:
    """Each prompt as one user message in the tokenizer's chat template, open for the answer."""
    return [
        tokenizer.apply_chat_template([{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True)
        for prompt in prompts
    ]
