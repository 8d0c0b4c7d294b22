"""Who was to be served by what with which probability: what every off-policy estimate rests on."""

import pandas as pd

from organism.store.database import Store


def read_propensities(store: Store, loop_id: str) -> pd.DataFrame:
    """One row for each user of each of the loop's experiments.

    Columns: experiment_id, user_key, assigned and other (the variants' names), probability (of the assigned one),
    experiment (its name).
    """
    return store.frame(
        """
        SELECT a.experiment_id, a.user_key, e.name AS experiment,
            CASE a.variant_id WHEN 'treatment' THEN t.name ELSE c.name END AS assigned,
            CASE a.variant_id WHEN 'treatment' THEN c.name ELSE t.name END AS other, a.probability
        FROM assignments a JOIN experiments e USING (experiment_id)
        JOIN model_versions c ON c.model_version_id = e.control_version_id
        JOIN model_versions t ON t.model_version_id = e.treatment_version_id
        WHERE e.loop_id = ? ORDER BY a.experiment_id, a.user_key
        """,
        [loop_id],
    )
