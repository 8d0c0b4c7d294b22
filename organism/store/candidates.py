"""What could become a row of a training set: every draft with what decides over it, without its texts."""

from collections.abc import Sequence

import pandas as pd
import pyarrow as pa

from organism.store.database import Store
from organism.store.interactions import VARIANT
from organism.store.signal_table import refresh_signals


def read_candidates(store: Store, loop_id: str, *, answered: bool = True, compared: bool = True) -> pd.DataFrame:
    """Every answered draft, newest answer first; with `answered` False every draft, the silent ones by their own time.

    Columns: interaction_id, feedback_id (None without), user_key, variant, region, answer (accept, edit, reject, None),
    consent, has_prompt, has_output, has_final, is_changed, prompt_hash, prompt_key, output_key, final_key,
    answered_at (of the draft, where nobody answered).
    Of several answers the last that was not superseded counts. has_final says whether a text that a person stood
    behind is known: the final text, or the draft as it was accepted. is_changed: the final text is another than
    the draft. The keys are hashes of texts without white space and case: equal keys read the same; without `compared`
    only prompts have one (making a key is what takes the time) and is_changed is False.
    """
    join = "JOIN" if answered else "LEFT JOIN"
    output_key, text_key = (_key(column) if compared else "NULL::UBIGINT" for column in ("output", "final_text"))
    refresh_signals(store)
    return store.frame(
        f"""
        WITH asked AS (
            SELECT interaction_id, coalesce(consent, false) AS consent, region, occurred_at,
                {VARIANT} AS variant, hash(prompt) AS prompt_hash,
                {_key("prompt")} AS prompt_key, {output_key} AS output_key,
                {_says("prompt")} AS has_prompt, {_says("output")} AS has_output
            FROM interactions WHERE loop_id = $1
        ), said AS (
            SELECT feedback_id, kind, occurred_at AS answered_at, regexp_matches(final_text, '\\S') AS has_text,
                CASE WHEN final_text IS NOT NULL THEN {text_key} END AS text_key
            FROM feedback_events WHERE kind IN ('accept', 'edit', 'reject')
        ), taken AS (SELECT interaction_id, feedback_id, user_key FROM signals WHERE loop_id = $1)
        SELECT t.interaction_id::VARCHAR AS interaction_id, t.feedback_id::VARCHAR AS feedback_id, t.user_key,
            a.variant, a.region, f.kind AS answer, a.consent, a.has_prompt, a.has_output,
            a.has_prompt AND coalesce(f.has_text, f.kind = 'accept' AND a.has_output, false) AS has_final,
            coalesce(f.text_key <> a.output_key, false) AS is_changed,
            a.prompt_hash, a.prompt_key, a.output_key, coalesce(f.text_key, a.output_key) AS final_key,
            coalesce(f.answered_at, a.occurred_at) AS answered_at
        FROM taken t {join} said f USING (feedback_id) JOIN asked a ON a.interaction_id = t.interaction_id
        ORDER BY answered_at DESC, t.interaction_id
        """,
        [loop_id],
    )


def read_texts(store: Store, interaction_ids: Sequence[str], feedback_ids: Sequence[str | None]) -> pd.DataFrame:
    """The texts of these drafts and of their answers, in the order asked.

    Columns: prompt, output, final (the final text, or the draft where the answer carried none), facts (JSON text,
    None without).
    """
    wanted = pa.table(
        {
            "place": pa.array(range(len(interaction_ids)), pa.int64()),
            "interaction": pa.array(interaction_ids, pa.string()),
            "feedback": pa.array(feedback_ids, pa.string()),
        }
    )
    with store.cursor() as cursor:
        cursor.register("wanted", wanted)
        found = cursor.execute("""
            SELECT w.place, i.prompt, i.output, coalesce(f.final_text, i.output) AS final,
                (i.attributes->'facts')::VARCHAR AS facts
            FROM wanted w JOIN interactions i ON i.interaction_id = w.interaction::UUID
            LEFT JOIN feedback_events f ON f.feedback_id = w.feedback::UUID
        """).df()
    return found.set_index("place").sort_index().rename_axis(None)


def _says(column: str) -> str:
    """Whether a text holds more than white space; trim() takes 15 times as long."""
    return f"coalesce(regexp_matches({column}, '\\S'), false)"


def _key(column: str) -> str:
    """Removing characters one by one costs a tenth of a regular expression."""
    bare = column
    for sign in ("' '", "chr(10)", "chr(13)", "chr(9)"):
        bare = f"replace({bare}, {sign}, '')"
    return f"hash(lower({bare}))"
