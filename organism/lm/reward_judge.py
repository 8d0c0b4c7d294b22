"""A reward model as a judge: a base with a head of one number, trained on what people preferred.

Rows are padded on the right and read without a mask, which causal attention does not need; only the last token of
each passes through the head. Training computes it the same way.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerBase

from organism.config import Workspace
from organism.errors import ModelError
from organism.lm.framing import framed
from organism.lm.judge import JUDGE_FILE, OnJudged, Preference, require_judge_folder

BATCH = 16


def load_classifier(base: Path, **held: Any) -> tuple[Any, PreTrainedTokenizerBase]:
    """A base with a fresh head of one number, and its tokenizer; raises ModelError on anything broken.

    The head is random: set the seed before.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(base), local_files_only=True)
        model = AutoModelForSequenceClassification.from_pretrained(
            str(base), num_labels=1, local_files_only=True, **{"dtype": torch.float32, **held}
        )
    except Exception as error:  # transformers raises whatever the broken file leads to
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ModelError(f"model folder {base} cannot become a judge ({reason}); choose another base") from error
    if tokenizer.chat_template is None or tokenizer.eos_token_id is None:
        raise ModelError(f"the tokenizer in {base} has no chat template or no end token; add both and try again")
    if not hasattr(model, "score"):
        raise ModelError(
            f"{type(model).__name__} has no head named `score`, so it cannot be trained as a judge here; "
            "choose a decoder such as a Llama, Qwen or Mistral"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.config.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


def rewards_of(classifier: Any, ids: torch.Tensor, lengths: torch.Tensor, *, bf16: bool = False) -> torch.Tensor:
    """One number a row, shape (rows,): the head on each row's last token. `ids` (rows, width) padded on the right."""
    with torch.autocast(ids.device.type, torch.bfloat16, enabled=bf16):
        hidden = classifier.base_model(input_ids=ids, use_cache=False).last_hidden_state
        last = hidden[torch.arange(len(ids), device=ids.device), lengths - 1]
        found: torch.Tensor = classifier.score(last)[:, 0]
    return found.float()


class RewardModelJudge:
    """A reward model, loaded and ready."""

    def __init__(self, model: Any, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model, self._tokenizer, self._name = model.to(self.device).eval(), tokenizer, name
        self.n_positions: int = model.config.max_position_embeddings

    @classmethod
    def from_folder(cls, folder: Path, workspace: Workspace) -> "RewardModelJudge":
        """The judge of an adapter folder that a run of the recipe reward_model left; ModelError for any other."""
        require_judge_folder(folder)
        about = json.loads((folder / JUDGE_FILE).read_text(encoding="utf-8"))
        model, tokenizer = load_classifier(workspace.locate(about["base"]))
        from peft import PeftModel  # a second of imports that only adapters need

        try:
            merged = PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
        except Exception as error:  # peft raises whatever the mismatch leads to
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise ModelError(f"the judge in {folder} cannot be loaded ({reason}); train it again") from error
        return cls(merged, tokenizer, about["name"])

    @property
    def name(self) -> str:
        return self._name

    def score(self, prompt: str, text: str) -> float:
        """The reward of one text; its zero means nothing, only differences do."""
        return self.scores([prompt], [text])[0]

    def prefer(self, prompt: str, first: str, second: str) -> Preference:
        """The text with the higher reward; equal rewards tie."""
        return self.prefer_all([prompt], [first], [second])[0]

    def prefer_all(
        self,
        prompts: Sequence[str],
        firsts: Sequence[str],
        seconds: Sequence[str],
        on_judged: OnJudged | None = None,
    ) -> list[Preference]:
        """The better text of every row."""
        told = None if on_judged is None else lambda done, total: on_judged(done // 2, total // 2)
        both = self.scores([*prompts, *prompts], [*firsts, *seconds], told)
        return [_preferred(a, b) for a, b in zip(both[: len(prompts)], both[len(prompts) :], strict=True)]

    @torch.inference_mode()
    def scores(self, prompts: Sequence[str], texts: Sequence[str], on_judged: OnJudged | None = None) -> list[float]:
        """The rewards of many texts, in their order; raises ModelError when one is longer than the model reads."""
        rows = self._encoded(prompts, texts)
        if (longest := max(map(len, rows), default=0)) > self.n_positions:
            raise ModelError(
                f"a prompt and its draft have {longest} tokens, and the judge reads {self.n_positions}; "
                "shorten them, or train a judge on a base with a longer context"
            )
        by_length = sorted(range(len(rows)), key=lambda place: len(rows[place]))
        found = [0.0] * len(rows)
        for first in range(0, len(by_length), BATCH):
            places = by_length[first : first + BATCH]
            for place, value in zip(places, self._batch([rows[place] for place in places]), strict=True):
                found[place] = value
            if on_judged is not None:
                on_judged(first + len(places), len(rows))
        return found

    def fits(self, prompt: str, *texts: str) -> bool:
        """Whether the judge can read each of these texts after the prompt."""
        return all(len(row) <= self.n_positions for row in self._encoded([prompt] * len(texts), texts))

    def _batch(self, rows: Sequence[Sequence[int]]) -> list[float]:
        lengths = torch.tensor([len(row) for row in rows])
        ids = torch.zeros((len(rows), int(lengths.max())), dtype=torch.long)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = torch.tensor(row)
        found: list[float] = rewards_of(self._model, ids.to(self.device), lengths.to(self.device)).tolist()
        return found

    def _encoded(self, prompts: Sequence[str], texts: Sequence[str]) -> list[list[int]]:
        starts = self._tokenizer(framed(prompts, self._tokenizer), add_special_tokens=False).input_ids
        ends = self._tokenizer(list(texts), add_special_tokens=False).input_ids
        return [[*start, *end, self._tokenizer.eos_token_id] for start, end in zip(starts, ends, strict=True)]


def _preferred(first: float, second: float) -> Preference:
    if first == second:
        return Preference.TIE
    return Preference.FIRST if first > second else Preference.SECOND
