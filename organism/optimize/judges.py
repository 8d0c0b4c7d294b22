"""Which judge a run asks: a version's name becomes the address of its adapter; an address stays as it is."""

from dataclasses import replace

from organism.config import Workspace
from organism.errors import DesignError
from organism.lm.judge import endpoint_of, require_judge_folder
from organism.optimize.configs import GrpoConfig, RlaifConfig, TrainingConfig
from organism.records import ModelVersion, Role
from organism.store.database import Store
from organism.store.model_versions import read_version, read_versions, version_by_name

VERSION = "version:"


def judge_address(store: Store, loop_id: str, named: str) -> str:
    """The address for `judge_of` of this judge: a version of the loop by its name, with or without `version:`.

    An endpoint, and an address with a scheme or a slash, is given back as it is. Raises InputError for an unknown
    version, DesignError for one that writes.
    """
    wanted = named.strip()
    name = wanted.removeprefix(VERSION)
    if not wanted or (name == wanted and (":" in wanted or "/" in wanted)):
        return wanted
    return _address(version_by_name(store, loop_id, name))


def require_judge(workspace: Workspace, address: str) -> None:
    """Raise InputError for an address that names no model of an endpoint, ModelError for a folder that is no judge.

    Whether an endpoint answers is not asked: it may be started later.
    """
    if address.startswith(("http://", "https://")):
        endpoint_of(address)
    elif address:
        require_judge_folder(workspace.locate(address))


def with_judge(store: Store, loop_id: str, config: TrainingConfig) -> TrainingConfig:
    """The settings with the address of the judge that they name; rlaif takes the loop's newest where none is named.

    Raises DesignError when rlaif names no judge and the loop has none, or grpo an endpoint.
    """
    if not isinstance(config, RlaifConfig | GrpoConfig):
        return config
    named = judge_address(store, loop_id, config.judge)
    if not named and isinstance(config, RlaifConfig):
        named = _address(newest_judge(store, loop_id))
    if isinstance(config, GrpoConfig) and named.startswith(("http://", "https://")):
        raise DesignError("grpo grades every draft it samples; name a reward model as its judge, not an endpoint")
    return replace(config, judge=named)


def newest_judge(store: Store, loop_id: str) -> ModelVersion:
    """The judge that the loop trained last; raises DesignError when there is none."""
    versions = read_versions(store, loop_id)
    judges = versions.loc[versions["role"] == Role.JUDGE, "model_version_id"].tolist()
    if not judges:
        raise DesignError(
            "the recipe rlaif needs a judge, and this loop has none: train one with the recipe reward_model, or name "
            "an endpoint with judge=http://HOST/v1#MODEL"
        )
    return read_version(store, str(judges[0]))


def _address(version: ModelVersion) -> str:
    if version.role is not Role.JUDGE or version.adapter_path is None:
        raise DesignError(
            f"version '{version.name}' writes drafts and is no judge; name a version that the recipe reward_model made"
        )
    return version.adapter_path
