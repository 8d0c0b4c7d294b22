"""Every step told as it ends: loss, speed, time left. It ends a run that was asked to stop, learns nothing or broke."""

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from transformers import TrainerCallback, TrainerControl, TrainerState

from organism.optimize.checkpoints import HELDOUT_LOSS, is_exhausted
from organism.optimize.machines import memory_mb

SPEED_WINDOW = 20
_TOLD = frozenset({"loss", "learning_rate", "epoch", "step"})


class Countable(Protocol):
    """A row whose tokens count for the speed."""

    @property
    def input_ids(self) -> Sequence[int]: ...

    @property
    def n_targets(self) -> int: ...


class Step(NamedTuple):
    """One optimizer step. tokens_per_second counts prompt and target tokens, the other one targets only.

    `extra` holds what only some recipes or some steps know: reward, margin, kl, heldout_loss, …
    """

    step: int
    total: int
    loss: float
    learning_rate: float
    tokens_per_second: float
    target_tokens_per_second: float
    seconds_left: float
    memory_mb: float
    extra: dict[str, float]


class Reporter(TrainerCallback):
    """Tells every step; ends training when asked, when the loss is no longer a usable number, or when the held-out
    loss has not improved `patience` times in a row.
    """

    def __init__(
        self,
        batches: Sequence[Sequence[Countable]],
        on_step: Callable[[Step], None],
        stop_asked: Callable[[], bool],
        patience: int = 0,
        *,
        zero_fails: bool = True,
    ) -> None:
        self.all_tokens = [sum(len(row.input_ids) for row in batch) for batch in batches]
        self.targets = [sum(row.n_targets for row in batch) for batch in batches]
        self.on_step, self.stop_asked, self.patience = on_step, stop_asked, patience
        self.zero_fails = zero_fails
        self.ends: deque[float] = deque(maxlen=SPEED_WINDOW + 1)
        self.told: Step | None = None
        self.stopped = False
        self.failure = ""

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.ends.append(time.perf_counter())

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.ends.append(time.perf_counter())
        if self.patience and state.global_step == state.max_steps:
            control.should_evaluate = True  # the last weights compete too
        if self.stop_asked() and state.global_step < state.max_steps:
            self.stopped = control.should_save = control.should_training_stop = True

    def on_log(
        self, args: Any, state: TrainerState, control: TrainerControl, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        if logs is None or "loss" not in logs:
            return
        loss = float(logs["loss"])
        # A gradient that is no number has spoiled the weights already, whatever the loss before it was.
        if not math.isfinite(loss) or (loss == 0.0 and self.zero_fails):
            self._fail(control, f"the loss was {loss} at step {state.global_step}")
        elif not math.isfinite(float(logs.get("grad_norm") or 0.0)):
            self._fail(control, f"the gradient was {logs['grad_norm']} at step {state.global_step}")
        else:
            self.told = self._step(state, loss, logs)
            self.on_step(self.told)

    def on_evaluate(
        self,
        args: Any,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        took = time.perf_counter() - self.ends[-1]
        self.ends = deque((end + took for end in self.ends), maxlen=SPEED_WINDOW + 1)
        loss = float((metrics or {})[HELDOUT_LOSS])
        if not math.isfinite(loss):
            self._fail(control, f"the held-out loss was {loss} at step {state.global_step}")
            return
        if self.told is not None:
            self.on_step(self.told._replace(extra={**self.told.extra, "heldout_loss": loss}))
        if is_exhausted(state.log_history, self.patience):
            control.should_training_stop = True

    def _fail(self, control: TrainerControl, what: str) -> None:
        self.failure = (
            f"{what}, which is no usable number, so training stopped and kept its last good checkpoint; "
            "lower the learning rate, look for empty texts in the training set, or restore the base where it was so "
            "from the first step on"
        )
        control.should_training_stop = True
        control.should_save = control.should_evaluate = False

    def _step(self, state: TrainerState, loss: float, logs: Mapping[str, Any]) -> Step:
        step, total, n_recent = state.global_step, state.max_steps, len(self.ends) - 1
        per_second = 1 / max(self.ends[-1] - self.ends[0], 1e-9)
        recent = slice(max(step - n_recent, 0), step)
        return Step(
            step,
            total,
            loss,
            float(logs["learning_rate"]),
            sum(self.all_tokens[recent]) * per_second,
            sum(self.targets[recent]) * per_second,
            (total - step) / (n_recent * per_second),
            memory_mb(),
            {name: float(value) for name, value in logs.items() if name not in _TOLD and _is_number(value)},
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
