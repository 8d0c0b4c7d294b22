from organism.store.interactions import read_drafts, read_prompt_lengths, read_regions, read_variants


def test_drafts_are_found_by_id_and_unknown_ones_have_no_row(store, events):
    known = events.draft("ana", prompt="12345", output="note", variant_id="scribe-1")
    events.write()
    found = read_drafts(store, events.loop_id, [known, "no uuid", "00000000-0000-7000-8000-000000000000"])
    assert found[["interaction_id", "variant", "output", "prompt_chars"]].values.tolist() == [
        [known, "scribe-1", "note", 5]
    ]
    assert read_prompt_lengths(store, events.loop_id, [known])["prompt_chars"].tolist() == [5]
    assert read_drafts(store, events.loop_id, []).empty


def test_variants_and_regions_are_listed_by_name_the_busiest_kept(store, events):
    for user, region in (("ana", "south"), ("ben", "north"), ("cem", "south"), ("dan", None)):
        events.draft(user, region=region, variant_id="base" if user == "ana" else None)
    events.write()
    assert read_variants(store, events.loop_id) == ["base", "unknown"]
    assert read_regions(store, events.loop_id) == ["north", "south"]
    assert read_regions(store, events.loop_id, 1) == ["south"]
    assert read_variants(store, "another loop") == []
