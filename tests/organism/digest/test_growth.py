from datetime import datetime
from math import nan
from time import perf_counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from organism.digest.cliffs import Cliff, cliff
from organism.digest.designs import weighted
from organism.digest.draft_pools import Pool, make_pool
from organism.digest.growth import as_sampled, group_shares, grow, picks, sweep, unknown_signals
from organism.digest.growth_flow import read_pool
from organism.errors import DesignError
from organism.measures.draft_reward import reward
from organism.records import RewardDesign, SignalSpec
from organism.store.sampled_drafts import append_sampled_drafts, read_sampled_drafts

SPECS = (
    SignalSpec("accepted", 0.2, 0, 1),
    SignalSpec("cost_usd", 0.2, 0.0004, 0.0001),
    SignalSpec("latency_ms", 0.2, 2000, 200, missing=0.5),
    SignalSpec("written_share", 0.4, 0, 1),
)
BALANCED = RewardDesign(name="balanced", signals=SPECS)


def drafts(n_prompts: int, seed: int = 0, missing: float = 0.0, stops: tuple[float, ...] = (1.0, 0.5)) -> pd.DataFrame:
    """A pool like the shipped one: drafts of several lengths, and beginnings that keep less of what was needed."""
    rng = np.random.default_rng(seed)
    rows = []
    for prompt in range(n_prompts):
        final = int(rng.integers(250, 450))
        for number in range(int(rng.integers(1, 5))):
            length = int(rng.integers(200, 500))
            kept = rng.uniform(0.4, 0.9)
            for stop_at in stops:
                chars = max(int(length * stop_at), 1)
                rows.append(
                    {
                        "prompt_key": f"visit {prompt}",
                        "draft_number": number,
                        "stop_at": stop_at,
                        "accepted": float(rng.random() < 0.8),
                        "output_tokens": chars / 4,
                        "latency_ms": nan if rng.random() < missing else 50.0 + chars,
                        "ttft_ms": nan,
                        "cost_usd": nan if rng.random() < missing else chars * 1e-6,
                        "draft_chars": chars,
                        "retained_chars": int(min(chars * kept, final)),
                        "final_chars": final,
                        "n_facts": 4,
                        "n_facts_right": int(rng.integers(0, 5)),
                    }
                )
    return pd.DataFrame(rows).sample(frac=1, random_state=seed)


def first_of_the_best(scored: list[tuple[float, dict]]) -> dict:
    """The first row that is within the tie of 1e-12 of the best; rounding to 12 digits would be another rule."""
    best = max(value for value, _ in scored)
    return next(row for value, row in scored if value >= best - 1e-12)


def by_hand(table: pd.DataFrame, design: RewardDesign) -> dict[str, float]:
    """Best of the drafts, prompt by prompt and row by row; NaN where nothing could be chosen."""
    whole, best = [], []
    for _, mine in table.groupby("prompt_key"):
        scored = []
        for row in mine.sort_values(["stop_at", "draft_number"], ascending=[False, True]).to_dict("records"):
            row["written_share"] = row["retained_chars"] / row["final_chars"]
            row["retained_char_rate"] = row["retained_chars"] / row["draft_chars"]
            value = reward(design, row)
            if value is not None:
                scored.append((value, row))
        entire = [(value, row) for value, row in scored if row["stop_at"] == 1]
        if entire:
            whole.append(first_of_the_best(entire))
            best.append(first_of_the_best(scored))
    if not whole:
        return {"n_prompts": 0, "chars": nan, "written_share": nan, "stops_share": nan, "optimum_chars": nan}
    chosen, optimum = pd.DataFrame(whole), pd.DataFrame(best)
    return {
        "n_prompts": len(chosen),
        "chars": chosen["draft_chars"].mean(),
        "retained_char_rate": chosen["retained_chars"].sum() / chosen["draft_chars"].sum(),
        "written_share": chosen["retained_chars"].sum() / chosen["final_chars"].sum(),
        "facts_right": chosen["n_facts_right"].sum() / chosen["n_facts"].sum(),
        "latency_ms": chosen["latency_ms"].mean(),
        "stops_share": (optimum["stop_at"] < 1).mean(),
        "optimum_chars": optimum["draft_chars"].mean(),
    }


weights = st.lists(st.floats(0, 5), min_size=4, max_size=4).filter(lambda w: sum(w) > 0.01)


@given(st.integers(0, 1000), weights, st.sampled_from([0.0, 0.3]))
@settings(max_examples=30, deadline=None)
def test_the_chosen_drafts_are_those_of_a_search_row_by_row(seed, w, missing):
    table = drafts(6, seed, missing)
    signals = tuple(spec._replace(weight=weight) for spec, weight in zip(SPECS, w, strict=True))
    design = RewardDesign(name="draft", signals=signals)
    found, wanted = grow(make_pool(table), design), by_hand(table, design)
    assert found.n_prompts == wanted["n_prompts"]
    for name, value in wanted.items():
        assert getattr(found, name) == (None if np.isnan(value) else pytest.approx(value))


@given(st.integers(0, 1000), st.floats(0, 1), st.sampled_from(["price", "performance", "quality"]))
@settings(max_examples=15, deadline=None)
def test_each_step_of_a_sweep_is_the_design_with_that_share(seed, price, group):
    pool = make_pool(drafts(5, seed))
    design = weighted(BALANCED, price=price, performance=0.3, quality=0.5)
    frame = sweep(pool, design, group, steps=6)
    assert frame["weight"].tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    now = group_shares(pool, design)
    for row in frame.to_dict("records"):
        rest = 1 - now[group]
        mixed = {name: share * (1 - row["weight"]) / rest for name, share in now.items()} | {group: row["weight"]}
        one = grow(pool, weighted(design, **mixed))
        for name in ("chars", "written_share", "facts_right", "stops_share", "optimum_written_share"):
            assert row[name] == pytest.approx(getattr(one, name))


def test_of_tied_drafts_the_whole_one_with_the_lowest_number_is_taken():
    rows = [
        {
            "prompt_key": "visit",
            "draft_number": number,
            "stop_at": stop_at,
            "accepted": 1.0,
            "draft_chars": 100 + number,
            **dict.fromkeys(("output_tokens", "latency_ms", "ttft_ms", "cost_usd"), nan),
            **dict.fromkeys(("retained_chars", "final_chars", "n_facts", "n_facts_right"), nan),
        }
        for stop_at, number in ((0.5, 0), (1.0, 3), (1.0, 1), (1.0, 2))
    ]
    found = grow(make_pool(pd.DataFrame(rows)), RewardDesign(name="d", signals=SPECS[:1]))
    assert (found.chars, found.stops_share, found.optimum_chars) == (101.0, 0.0, 101.0)
    assert (found.written_share, found.facts_right, found.cost_usd) == (None, None, None)


def test_the_picks_are_rows_of_the_stored_table(store, events):
    stored(store, events.loop_id, drafts(5, seed=2))
    table, pool = read_sampled_drafts(store, events.loop_id, texts=True), read_pool(store, events.loop_id)
    greedy = weighted(BALANCED, price=0.9, performance=0.05, quality=0.05)
    whole, best = table.iloc[picks(pool, greedy)], table.iloc[picks(pool, greedy, beginnings=True)]
    assert whole["draft_chars"].mean() == pytest.approx(grow(pool, greedy).chars)
    assert best["draft_chars"].mean() == pytest.approx(grow(pool, greedy).optimum_chars)
    assert whole["prompt_key"].tolist() == best["prompt_key"].tolist() == sorted(table["prompt_key"].unique())
    assert (whole["stop_at"] == 1).all()


def test_what_nobody_can_know_of_an_unseen_draft_is_left_out_by_name():
    pool = make_pool(drafts(5))
    design = RewardDesign(
        name="draft",
        signals=(*SPECS, SignalSpec("rating", 2, 1, 5), SignalSpec("ttft_ms", 1, 500, 0), SignalSpec("error", 0, 1, 0)),
    )
    assert "ttft_ms" not in pool.signals  # no draft of this pool was timed to its first token
    assert unknown_signals(pool, design) == ("rating", "ttft_ms")
    assert grow(pool, design)._replace(left_out=()) == grow(pool, BALANCED)
    assert grow(pool, design).left_out == ("rating", "ttft_ms")
    blind = RewardDesign(name="blind", signals=(SignalSpec("rating", 2, 1, 5), SPECS[0]._replace(weight=0)))
    with pytest.raises(
        DesignError, match=r"\(left out: rating\); give a weight to at least one of: accepted, cost_usd"
    ):
        grow(pool, blind)
    assert sweep(pool, blind, "price").empty
    assert cliff(pool, RewardDesign(name="none", signals=SPECS[:1]), groups=["price"]) is None


def test_a_sweep_from_the_only_group_has_nothing_to_choose_by_at_zero():
    pool = make_pool(drafts(5))
    frame = sweep(pool, RewardDesign(name="price", signals=SPECS[1:2]), "price", steps=3)
    assert frame["chars"].isna().tolist() == [True, False, False]
    assert frame["chars"].iloc[1] == frame["chars"].iloc[2]


def test_no_choice_is_every_whole_draft_alike():
    table = drafts(8)
    whole = table[table["stop_at"] == 1]
    found = as_sampled(make_pool(table))
    assert (found.n_prompts, found.chars) == (8, pytest.approx(whole["draft_chars"].mean()))
    assert found.written_share == pytest.approx(whole["retained_chars"].sum() / whole["final_chars"].sum())
    assert (found.stops_share, found.optimum_chars) == (None, None)


def test_a_heavy_price_is_a_cliff_and_the_sentence_says_where():
    pool = make_pool(drafts(60, seed=4))
    safe = weighted(BALANCED, price=0.02, performance=0.02, quality=0.96)
    assert grow(pool, safe).stops_share < 0.5
    found = cliff(pool, safe)
    assert not found.is_past
    assert found.share_at > found.share_now
    there = sweep(pool, safe, found.group)
    step = int(np.flatnonzero(np.isclose(there["weight"], found.share_at))[0])
    over, before = there.iloc[step], there.iloc[step - 1]
    drop = before["optimum_written_share"] - over["optimum_written_share"]
    assert over["stops_share"] > 0.5 or drop > 0.1
    assert before["stops_share"] <= 0.5
    assert found.group in found.sentence
    assert f"{found.share_at:.0%}" in found.sentence


def test_past_a_cliff_the_sentence_says_what_remains_on_the_way_back():
    pool = make_pool(drafts(60, seed=4))
    greedy = weighted(BALANCED, price=0.9, performance=0.05, quality=0.05)
    assert grow(pool, greedy).stops_share > 0.5
    found = cliff(pool, greedy)
    assert (found.is_past, found.stops_share) == (True, grow(pool, greedy).stops_share)
    mine = sweep(pool, greedy, found.group).set_index("weight")["stops_share"]
    there = mine.loc[[share for share in mine.index if np.isclose(share, found.share_at)]].iloc[0]
    assert found.stops_then == there <= 0.5
    assert f"takes that down to {there:.0%} of prompts; for less, give written_share more weight" in found.sentence


def test_where_no_weight_leads_back_the_sentence_asks_for_the_written_share():
    pool = make_pool(drafts(60, seed=4))
    only_price = RewardDesign(name="price", signals=SPECS[1:2])
    found = cliff(pool, only_price)
    assert found.stops_then == found.stops_share
    assert "brings that to 50% or less: add written_share to the design." in found.sentence
    unheard = RewardDesign(name="price", signals=(SPECS[1], SPECS[3]._replace(weight=0.0)))
    heard = cliff(pool, unheard).sentence
    assert "give written_share more weight" in heard
    assert "add written_share" not in heard


def test_without_beginnings_and_drops_there_is_no_cliff():
    assert cliff(make_pool(drafts(60, stops=(1.0,))), BALANCED) is None


def test_a_written_share_that_falls_in_one_step_is_a_cliff_too():
    swept = [(1.0, 400, 400, 0.0002), (1.0, 100, 100, 0.0001)]
    rows = [
        {
            "prompt_key": f"visit {prompt}",
            "draft_number": number,
            "stop_at": stop_at,
            "accepted": 1.0,
            "cost_usd": cost,
            "draft_chars": chars,
            "retained_chars": kept,
            "final_chars": 400,
            **dict.fromkeys(("output_tokens", "latency_ms", "ttft_ms", "n_facts", "n_facts_right"), nan),
        }
        for prompt in range(3)
        for number, (stop_at, chars, kept, cost) in enumerate(swept)
    ]
    design = RewardDesign(
        name="d", signals=(SignalSpec("cost_usd", 0.1, 0.0002, 0.0001), SignalSpec("written_share", 0.9, 0, 1))
    )
    found = cliff(make_pool(pd.DataFrame(rows)), design)
    # The short note wins from price * 1 > quality * 0.75 on: between 40% and 45%.
    assert found == Cliff("price", 0.1, pytest.approx(0.45), False, 0.0, 0.0, 1.0, 0.25, found.sentence)
    assert "at 45% of the reward the written share drops from 100% to 25% in one step" in found.sentence


def test_a_preview_of_300_prompts_is_instant():
    pool = make_pool(drafts(300, stops=(1.0, 0.75, 0.5, 0.25)))
    assert min(_timed(lambda: grow(pool, BALANCED)) for _ in range(5)) < 0.02
    assert min(_timed(lambda: sweep(pool, BALANCED, "price")) for _ in range(5)) < 0.06


def _timed(work) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def stored(store, loop_id: str, table: pd.DataFrame) -> None:
    named = {"loop_id": loop_id, "prompt": "text", "is_synthetic": True}
    rows = [
        {key: None if pd.isna(value) else value for key, value in row.items()} | named
        for row in table.to_dict("records")
    ]
    append_sampled_drafts(store, rows, datetime(2026, 10, 1))


def test_the_pool_of_the_store_is_the_pool_of_its_rows(store, events):
    table = drafts(4)
    assert read_pool(store, events.loop_id) is None
    stored(store, events.loop_id, table)
    pool = read_pool(store, events.loop_id)
    assert isinstance(pool, Pool)
    assert grow(pool, BALANCED) == grow(make_pool(table), BALANCED)
    assert "ttft_ms" not in pool.signals
