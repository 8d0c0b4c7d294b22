"""Who was to be served by what with which probability: what every off-policy estimate rests on."""

import pandas as pd

from organism.store.database import Store


def read_propensities(store: Store, loop_id: str) -> pd.DataFrame:
    """One row for each user of each of the loop's experiments, with the probability that was logged at the draw.

    Columns: experiment_id, user_key, experiment (its name), assigned (the variant's name), probability (of that
    variant, as the policy dealt it then: a share, or what Thompson sampling made of it), tried (the names of all
    variants of the experiment, a tuple).
    """
    found = store.frame(
        """
        SELECT a.experiment_id, a.user_key, e.name AS experiment, a.variant_id AS assigned, a.probability
        FROM assignments a JOIN experiments e USING (experiment_id)
        WHERE e.loop_id = ? ORDER BY a.experiment_id, a.user_key
        """,
        [loop_id],
    )
    names = store.rows(
        "SELECT experiment_id, list(v.name ORDER BY v.position) FROM variants v JOIN experiments e "
        "USING (experiment_id) WHERE e.loop_id = ? GROUP BY experiment_id",
        [loop_id],
    )
    tried = {experiment_id: tuple(variants) for experiment_id, variants in names}
    return found.assign(tried=found["experiment_id"].map(tried).astype(object))
