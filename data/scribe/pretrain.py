"""Pre-train the scribe's base model from nothing: one command, two CPU cores, under an hour, the same from its seed.

    python -m data.scribe.pretrain --out data/scribe/base

Writes weights (fp16), configuration, tokenizer and model card. A checkpoint is kept beside the run every few minutes;
`--resume` goes on from it.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from data.scribe import curriculum
from data.scribe.card import write_card
from data.scribe.curriculum import Batch
from data.scribe.encounters import encounter
from data.scribe.measure import UNSEEN_SEED, measure
from data.scribe.notes import generic_note
from data.scribe.tokenizer import build_tokenizer, save_tokenizer, tokenizer_texts
from organism.lm.decoder import Decoder

MATRIX_RATE, OTHER_RATE = 0.02, 4e-3
WARMUP_STEPS = 30
DECAY_SHARE = 0.5
REFINE_RATE = 0.6
TOKENIZER_SEED = 50_000_000
REPLAY_SEED = 60_000_000


@dataclass(slots=True)
class Progress:
    """Where a run is, and what it has seen; saved in the checkpoint."""

    step: int = 0
    tokens: int = 0
    note_tokens: int = 0
    seconds: float = 0.0
    loss: float | None = None


@dataclass(slots=True, kw_only=True)
class Run:
    """A model with its tokenizer and optimizers, in the middle of being trained."""

    model: LlamaForCausalLM
    tokenizer: PreTrainedTokenizerFast
    optimizers: list[torch.optim.Optimizer]
    n_steps: int
    refine_steps: int
    seed: int
    progress: Progress

    @property
    def last_step(self) -> int:
        return self.n_steps + self.refine_steps


def new_model(vocabulary_size: int, seed: int) -> LlamaForCausalLM:
    """The architecture: four wide Llama layers with heads of 64, tied embeddings; 3.7 million parameters."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary_size,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=640,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config)


def new_run(n_steps: int, refine_steps: int, seed: int) -> Run:
    """A run at step 0: the curriculum of n_steps, then refine_steps more on visits and prescriptions.

    The seed decides the initial weights and every batch.
    """
    tokenizer = build_tokenizer(tokenizer_texts(TOKENIZER_SEED))
    model = new_model(len(tokenizer), seed)
    is_matrix = {name: p.ndim == 2 and "embed" not in name for name, p in model.named_parameters()}
    matrices = [p for name, p in model.named_parameters() if is_matrix[name]]
    others = [p for name, p in model.named_parameters() if not is_matrix[name]]
    return Run(
        model=model,
        tokenizer=tokenizer,
        optimizers=[
            torch.optim.Muon(matrices, lr=MATRIX_RATE, momentum=0.95, weight_decay=0.0, ns_steps=4),
            torch.optim.AdamW(others, lr=OTHER_RATE, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
        ],
        n_steps=n_steps,
        refine_steps=refine_steps,
        seed=seed,
        progress=Progress(),
    )


def train(run: Run) -> Iterator[Progress]:
    """Train to the last step, yielding the progress after each group of steps."""
    while run.progress.step < run.last_step:
        started = time.perf_counter()
        batches = curriculum.batches(run.tokenizer, run.seed, run.progress.step, run.n_steps)
        for batch in batches[: run.last_step - run.progress.step]:
            _train_step(run, batch)
        run.progress.seconds += time.perf_counter() - started
        yield run.progress


def rate_at(step: int, n_steps: int, refine_steps: int = 0) -> float:
    """The share of the full learning rate: warm-up, plateau, straight down to nothing; then a lower, shorter slope."""
    if step >= n_steps:
        first, last, peak, decay = n_steps, n_steps + refine_steps, REFINE_RATE, 1.0
    else:
        first, last, peak, decay = 0, n_steps, 1.0, DECAY_SHARE
    return peak * min(1.0, (step - first + 1) / WARMUP_STEPS, (last - step) / (decay * (last - first)))


def _train_step(run: Run, batch: Batch) -> None:
    progress = run.progress
    for optimizer, rate in zip(run.optimizers, (MATRIX_RATE, OTHER_RATE), strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate * rate_at(progress.step, run.n_steps, run.refine_steps)
    loss = note_loss(run.model, batch)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
    for optimizer in run.optimizers:
        optimizer.step()
        optimizer.zero_grad()
    progress.step += 1
    progress.tokens += int((batch.ids != curriculum.PAD_ID).sum())
    progress.note_tokens += int(batch.is_note.sum())
    progress.loss = _moving(progress.loss, loss.item())


def note_loss(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """The mean loss of the notes' tokens; logits are computed for them alone."""
    wanted = batch.is_note[:, 1:]
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.model(input_ids=batch.ids[:, :-1], use_cache=False)[0]
        logits = F.linear(hidden[wanted], model.lm_head.weight)
    return F.cross_entropy(logits.float(), batch.ids[:, 1:][wanted])


def _moving(average: float | None, value: float) -> float:
    return value if average is None else 0.95 * average + 0.05 * value


def save_checkpoint(run: Run, path: Path) -> None:
    """Everything needed to go on, written so that a kill leaves the old or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state: dict[str, Any] = {
        "model": run.model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in run.optimizers],
        "progress": asdict(run.progress),
        "n_steps": run.n_steps,
        "refine_steps": run.refine_steps,
        "seed": run.seed,
    }
    torch.save(state, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def resume_checkpoint(path: Path, refine_steps: int | None = None) -> Run:
    """The run as it was when the checkpoint was written; refine_steps can still be changed before they begin."""
    state = torch.load(path, weights_only=True)
    planned = state.get("refine_steps", 0) if refine_steps is None else refine_steps
    run = new_run(state["n_steps"], planned, state["seed"])
    run.model.load_state_dict(state["model"])
    for optimizer, saved in zip(run.optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    run.progress = Progress(**state["progress"])
    return run


def save_model(run: Run, folder: Path) -> None:
    """Weights in fp16 with configuration and tokenizer, as transformers reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    half = LlamaForCausalLM(run.model.config).half()
    half.load_state_dict(run.model.state_dict())
    half.save_pretrained(str(folder))
    save_tokenizer(run.tokenizer, folder)


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    checkpoint = arguments.checkpoint
    if arguments.resume:
        run = resume_checkpoint(checkpoint, arguments.refine)
    else:
        run = new_run(arguments.steps, arguments.refine, arguments.seed)
    saved = time.perf_counter()
    for progress in train(run):
        if progress.step % 40 == 0:
            print(json.dumps(_rounded(progress)), flush=True)
        if time.perf_counter() - saved > arguments.save_every:
            save_checkpoint(run, checkpoint)
            save_model(run, arguments.out)
            saved = time.perf_counter()
    save_checkpoint(run, checkpoint)
    save_model(run, arguments.out)
    measured = measure(Decoder.from_folder(arguments.out), arguments.visits)
    write_card(
        arguments.out,
        asdict(run.progress),
        measured,
        seed=run.seed,
        n_steps=run.n_steps,
        threads=arguments.threads,
        first_seed=UNSEEN_SEED,
        recipe={
            "matrix_rate": MATRIX_RATE,
            "other_rate": OTHER_RATE,
            "warmup": WARMUP_STEPS,
            "decay": DECAY_SHARE,
            "refine_rate": REFINE_RATE,
        },
    )
    write_replay(arguments.out)
    print(json.dumps({name: counted._asdict() for name, counted in measured.items()}), flush=True)


def write_replay(folder: Path, n_rows: int = 200) -> None:
    """Write generic notes of fresh visits, which a fine-tune mixes in so that the model keeps its facts."""
    visits = map(encounter, range(REPLAY_SEED, REPLAY_SEED + n_rows))
    rows = [json.dumps({"prompt": visit.transcript, "completion": generic_note(visit)}) for visit in visits]
    (folder / "replay.jsonl").write_text("\n".join(rows) + "\n")


def _rounded(progress: Progress) -> dict[str, Any]:
    row = asdict(progress)
    row = {name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()}
    return row | {"tokens_per_s": round(progress.tokens / max(progress.seconds, 1e-9))}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Pre-train the scribe's base model on synthetic visits.")
    parser.add_argument("--out", type=Path, required=True, help="model folder to write")
    parser.add_argument("--steps", type=int, default=1800, help="steps of the curriculum (default: %(default)s)")
    parser.add_argument("--refine", type=int, default=600, help="steps after it (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="initial weights and data (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: %(default)s)")
    parser.add_argument("--save-every", type=float, default=240.0, help="seconds between checkpoints")
    parser.add_argument("--visits", type=int, default=400, help="unseen visits to measure on (default: %(default)s)")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        default=Path("workspace/pretrain/checkpoint.pt"),
        help="where to keep the checkpoint (default: %(default)s)",
    )
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    return parser.parse_args()


if __name__ == "__main__":
    main()
