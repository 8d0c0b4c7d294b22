"""What a fine-tune is asked to do: the settings every recipe has, and those that only one has. No torch, no store.

Learning rates suit the shipped four-million-parameter base; take 1e-4 to 2e-4 for a model of a billion and more.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Self, get_args

from organism.config import BUNDLED_BASE
from organism.errors import DesignError
from organism.records import Recipe, content_hash

Bounds = Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """The settings that every recipe has; frozen with the run.

    `None` in threads, bf16, load_in_4bit and eval_rows means: all cores, where the processor supports it, where
    memory asks for it, all held-out rows. With `patience` above 0 a share of the training users is set aside, and
    training stops when the loss on their rows has not improved `patience` times in a row.
    """

    base: str = BUNDLED_BASE
    epochs: int = 3
    learning_rate: float = 3e-3
    lora_r: int = 16
    lora_alpha: int = 32
    batch_size: int = 16
    max_length: int = 640
    checkpoint_every: int = 10
    patience: int = 0
    validation_share: float = 0.1
    seed: int = 0
    threads: int | None = None
    bf16: bool | None = None
    load_in_4bit: bool | None = None
    max_new_tokens: int = 256
    eval_rows: int | None = None
    eval_batch_size: int = 16

    BOUNDS: ClassVar[Bounds] = {
        "epochs": (1, 50),
        "learning_rate": (1e-7, 0.1),
        "lora_r": (1, 256),
        "lora_alpha": (1, 1024),
        "batch_size": (1, 256),
        "max_length": (16, 131_072),
        "checkpoint_every": (1, 100_000),
        "patience": (0, 100),
        "validation_share": (0.01, 0.5),
        "seed": (0, 2**32 - 1),
        "threads": (1, 1024),
        "eval_rows": (1, 1_000_000),
        "max_new_tokens": (1, 8_192),
        "eval_batch_size": (1, 256),
    }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The config of this plain data; raises DesignError for a name that it does not know."""
        if unknown := sorted(set(values) - {field.name for field in fields(cls)}):
            known = ", ".join(field.name for field in fields(cls))
            raise DesignError(f"a fine-tune has no setting '{unknown[0]}'; known settings: {known}")
        return cls(**values)

    @property
    def id(self) -> str:
        """Equal settings, equal id."""
        return content_hash(asdict(self))[:16]

    def check(self) -> None:
        """Raise DesignError, naming the value, when a setting cannot work."""
        for field in fields(self):
            if not _is_of(getattr(self, field.name), field.type):
                wanted = _in_words(field.type)
                raise DesignError(f"{field.name} is {getattr(self, field.name)!r}; give {wanted}")
        for name, (low, high) in self.BOUNDS.items():
            value = getattr(self, name)
            # A comparison is false for NaN, and exact for a whole number that no float can hold.
            if value is not None and not low <= value <= high:
                raise DesignError(f"{name} is {value!r:.40}; give a number from {low} to {high}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SftConfig(TrainingConfig):
    """Supervised fine-tuning; `replay_share` of all rows remind the model of what its base knew."""

    replay_share: float = 0.0

    BOUNDS: ClassVar[Bounds] = {**TrainingConfig.BOUNDS, "replay_share": (0.0, 0.9)}


@dataclass(frozen=True, slots=True, kw_only=True)
class DpoConfig(TrainingConfig):
    """Preferences by pairs: `beta` holds the model to its base; `imitation` weighs also learning to write the chosen.

    `batch_size` counts pairs, each of which is two texts.
    """

    learning_rate: float = 1e-3
    batch_size: int = 8
    beta: float = 0.1
    imitation: float = 0.0

    BOUNDS: ClassVar[Bounds] = {**TrainingConfig.BOUNDS, "beta": (1e-3, 10.0), "imitation": (0.0, 100.0)}


@dataclass(frozen=True, slots=True, kw_only=True)
class RlaifConfig(DpoConfig):
    """Preferences by a judge: two drafts of each prompt at this temperature, and the judge at this address labels them.

    `judge` names a reward model of the loop, an adapter's folder, or http://HOST/v1#MODEL; empty for the loop's latest
    reward model. On at most `max_asked` pairs it is compared with people.
    """

    epochs: int = 2
    temperature: float = 1.0
    judge: str = ""
    max_asked: int = 300

    BOUNDS: ClassVar[Bounds] = {**DpoConfig.BOUNDS, "temperature": (0.01, 5.0), "max_asked": (0, 100_000)}


@dataclass(frozen=True, slots=True, kw_only=True)
class KtoConfig(TrainingConfig):
    """Preferences by thumbs: `beta` holds the model to its base; `undesirable_share` of the loss are rejected rows.

    A batch has two rows at least, since what a neighbor wrote measures how far the model has drifted.
    """

    learning_rate: float = 1e-3
    beta: float = 0.1
    undesirable_share: float = 0.5

    BOUNDS: ClassVar[Bounds] = {
        **TrainingConfig.BOUNDS,
        "batch_size": (2, 256),
        "beta": (1e-3, 10.0),
        "undesirable_share": (0.05, 0.95),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardModelConfig(TrainingConfig):
    """A judge from preferences; `centering` pulls its rewards toward a mean of zero. `batch_size` counts pairs."""

    epochs: int = 2
    learning_rate: float = 1e-3
    batch_size: int = 8
    centering: float = 0.01

    BOUNDS: ClassVar[Bounds] = {**TrainingConfig.BOUNDS, "centering": (0.0, 10.0)}


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardedConfig(TrainingConfig):
    """What recipes share that ask the reward design. A draft's latency is modeled, so that a run can be repeated: so
    many milliseconds a token read and a token written.
    """

    ms_per_prompt_token: float = 0.3
    ms_per_token: float = 1.9

    BOUNDS: ClassVar[Bounds] = {
        **TrainingConfig.BOUNDS,
        "ms_per_prompt_token": (0.0, 1e4),
        "ms_per_token": (0.0, 1e4),
    }

    def seconds(self, prompt_tokens: int, tokens: int) -> float:
        """The modeled time until a whole draft is there."""
        return (self.ms_per_prompt_token * prompt_tokens + self.ms_per_token * tokens) / 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedConfig(RewardedConfig):
    """Imitation by reward: each text counts as its reward to the power of `sharpness`; 0 makes all count alike."""

    replay_share: float = 0.0
    sharpness: float = 1.0

    BOUNDS: ClassVar[Bounds] = {**RewardedConfig.BOUNDS, "replay_share": (0.0, 0.9), "sharpness": (0.0, 20.0)}


@dataclass(frozen=True, slots=True, kw_only=True)
class BestOfNConfig(RewardedConfig):
    """Rejection sampling: `n_drafts` a prompt are sampled at `temperature`, and the best one is imitated."""

    replay_share: float = 0.0
    n_drafts: int = 4
    temperature: float = 0.8

    BOUNDS: ClassVar[Bounds] = {
        **RewardedConfig.BOUNDS,
        "replay_share": (0.0, 0.9),
        "n_drafts": (2, 64),
        "temperature": (0.05, 2.0),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpoConfig(RewardedConfig):
    """Climbing the reward design: `batch_size` drafts a step, `group_size` of each prompt, graded against each other.

    `beta` holds the model to its base. `floor_share` is what every draft must reach of the written share and of the
    facts of the base's own draft; 0 takes that floor away. `judge` is the address of a reward model that stands for
    quality in place of retained characters; empty for none.
    """

    epochs: int = 1
    learning_rate: float = 3e-3
    batch_size: int = 32
    group_size: int = 8
    beta: float = 0.0
    floor_share: float = 0.75
    judge: str = ""

    BOUNDS: ClassVar[Bounds] = {
        **RewardedConfig.BOUNDS,
        "group_size": (2, 64),
        "beta": (0.0, 10.0),
        "floor_share": (0.0, 1.0),
    }

    def check(self) -> None:
        """As for every recipe; the drafts of a step must be whole groups, and there is no held-out loss to stop by."""
        TrainingConfig.check(self)
        if self.patience:
            raise DesignError(
                f"patience is {self.patience}, and grpo has no held-out loss to stop by: its loss says nothing of how "
                "good the drafts are. Set patience to 0 and watch the reward."
            )
        if self.batch_size % self.group_size:
            raise DesignError(
                f"batch_size is {self.batch_size} drafts a step and group_size {self.group_size} of a prompt; "
                "make the first a multiple of the second"
            )


_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a word",
    type(None): "null for the usual",
}


def _is_of(value: Any, wanted: Any) -> bool:
    """Whether a value is of the type that its setting is declared with; a whole number is a number, a truth is none."""
    kinds = get_args(wanted) or (wanted,)
    if isinstance(value, int) and not isinstance(value, bool) and float in kinds:
        return True
    return type(value) in kinds or not set(kinds) <= set(_WORDS)


def _in_words(wanted: Any) -> str:
    return " or ".join(_WORDS[kind] for kind in get_args(wanted) or (wanted,))


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig(TrainingConfig):
    """A measurement: which version against which other (ids), and the address of a judge, if one is to be asked."""

    version: str = ""
    against: str = ""
    judge: str = ""


CONFIGS: dict[Recipe, type[TrainingConfig]] = {
    Recipe.SFT: SftConfig,
    Recipe.WEIGHTED: WeightedConfig,
    Recipe.BEST_OF_N: BestOfNConfig,
    Recipe.DPO: DpoConfig,
    Recipe.KTO: KtoConfig,
    Recipe.REWARD_MODEL: RewardModelConfig,
    Recipe.RLAIF: RlaifConfig,
    Recipe.GRPO: GrpoConfig,
    Recipe.EVALUATE: EvaluateConfig,
}
"""The settings of each recipe."""


def config_of(recipe: Recipe, values: Mapping[str, Any]) -> TrainingConfig:
    """The settings of this recipe from plain data; raises DesignError for a name that it does not know."""
    return CONFIGS[recipe].from_dict(values)
