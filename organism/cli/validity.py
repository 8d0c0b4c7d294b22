"""`organism reward check` and `organism reward audit`: is this the right reward, and who earned it by less?"""

import argparse
from typing import Any

from organism.cli.commands import loop_of, opened
from organism.cli.designs import REF, chosen_design, text_of
from organism.cli.output import Result, table
from organism.digest.audit import AFTER_THE_FACT, RULES, Audit
from organism.digest.audit_checks import CHECKS
from organism.digest.designs_flow import LIVE
from organism.digest.predictions import predictions_table
from organism.digest.validity import Explained, Validity
from organism.digest.validity_flow import audit_versions, check_validity

COLUMNS = {
    "subject": "what",
    "outcome": "against",
    "word": "word",
    "within": "within versions",
    "within_low": "low",
    "within_high": "high",
    "overall": "over all",
    "n_rows": "drafts",
}


def add_to(command: Any) -> None:
    """The two commands, members of the group of rewards."""
    leaf = command("check", check, "is this the right reward: does it predict the outcomes within each version")
    leaf.add_argument("ref", nargs="?", default=LIVE, metavar="REF|FILE", help=REF)
    leaf = command("audit", audit, "what versions earned their reward by, after the fact: reward hacking")
    leaf.add_argument("ref", nargs="?", default=LIVE, metavar="REF|FILE", help=REF)
    leaf.add_argument("--variant", metavar="V", help="only this variant (default: each that replaced another)")
    leaf.add_argument("--reference", metavar="V", help="compare with this one (default: the live one, or its base)")


def check(args: argparse.Namespace) -> Result:
    """The answer, each outcome's word with its figures, and what experiments say."""
    text = text_of(args.ref)
    with opened(args) as place:
        loop = loop_of(place.store, args.loop)
        found = check_validity(place.store, loop, chosen_design(args.ref, text, place, loop))
    return Result(_validity_in_words(found), found._asdict())


def audit(args: argparse.Namespace) -> Result:
    """A verdict a version with its checks."""
    text = text_of(args.ref)
    with opened(args) as place:
        loop = loop_of(place.store, args.loop)
        design = chosen_design(args.ref, text, place, loop)
        found = audit_versions(place.store, loop, design, variant=args.variant, reference=args.reference)
    words = "\n\n".join(_audit_in_words(audit) for audit in found) or "There is no second variant to audit yet."
    data = {"design_id": design.id, "design": design.name, "what_it_is": AFTER_THE_FACT}
    return Result(f"{words}\n\n{AFTER_THE_FACT}", {**data, "audits": found, "rules": RULES, "checks": CHECKS})


def _validity_in_words(found: Validity) -> str:
    lines = [f"{found.design} ({found.design_id}): {found.answer}. {found.sentence}", ""]
    lines.append(table(predictions_table([*found.reward, *found.signals]), COLUMNS, "No outcome to hold it against."))
    lines += ["", *(_explained_in_words(e) for e in found.experiments)]
    lines += [f"{outcome}, across deployments: {said.sentence}" for outcome, said in found.across.items()]
    return "\n".join([*lines, "", *found.notes]).strip()


def _explained_in_words(explained: Explained) -> str:
    head = f"{explained.experiment}, {explained.outcome}: "
    if explained.found is None or explained.found.pte.estimate is None:
        return head + "the proportion of the effect that the reward explains cannot be told."
    pte = explained.found.pte
    bounds = f" ({pte.low:.2f} to {pte.high:.2f})" if pte.low is not None and pte.high is not None else ""
    return f"{head}the reward explains {pte.estimate:.2f}{bounds} of the effect. {' '.join(explained.found.warnings)}"


def _audit_in_words(found: Audit) -> str:
    lines = [f"{found.variant} against {found.reference}: {str(found.verdict).upper()}. {found.sentence}"]
    lines += [f"  {c.finding:<10} {c.check}: {c.sentence}" for c in found.checks]
    return "\n".join([*lines, f"  compared: {found.basis}"])
