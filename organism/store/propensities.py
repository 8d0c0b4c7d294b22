"""Who was to be served by what with which probability: what every off-policy estimate rests on."""

import pandas as pd

from organism.store.database import Store


def read_propensities(store: Store, loop_id: str) -> pd.DataFrame:
    """One row for each user of each of the loop's experiments of two variants.

    Columns: experiment_id, user_key, assigned and other (the variants' names), probability (of the assigned one),
    experiment (its name).
    """
    return store.frame(
        """
        SELECT a.experiment_id, a.user_key, e.name AS experiment, a.variant_id AS assigned, o.name AS other,
            a.probability
        FROM assignments a JOIN experiments e USING (experiment_id)
        JOIN variants o ON o.experiment_id = a.experiment_id AND o.name <> a.variant_id
        WHERE e.loop_id = ? AND (SELECT count(*) FROM variants v WHERE v.experiment_id = a.experiment_id) = 2
        ORDER BY a.experiment_id, a.user_key
        """,
        [loop_id],
    )
