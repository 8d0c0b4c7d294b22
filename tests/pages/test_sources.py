"""The sources page: a file of one's own goes in, bad rows are kept and mended."""

from collections.abc import Callable
from pathlib import Path

from streamlit.testing.v1 import AppTest

from organism.config import utcnow
from organism.ingest.flow import ingest
from organism.records import EventKind
from organism.store.interactions import count_interactions
from organism.store.loops import loop_ids
from organism.store.quarantine import count_waiting
from ui import runtime

Visit = Callable[..., AppTest]

CSV = b"id,who,question,answer,took\n1,ann,Why?,Because.,300\n2,bob,How?,Like so.,soon\n3,cyd,When?,Now.,250\n"


def test_a_dropped_file_is_matched_previewed_and_imported_and_its_bad_row_is_kept(empty: Path, visit: Visit) -> None:
    app = visit("sources")
    app.file_uploader[0].upload("chats.csv", CSV).run()
    assert not app.exception
    for field, column in (("external_id", "id"), ("user_key", "who"), ("prompt", "question"), ("output", "answer")):
        app.selectbox(key=f"map_interactions_{field}").set_value(column)
    app.selectbox(key="map_interactions_latency_ms").set_value("took").run()
    assert any("latency_ms is 'soon'" in warning.value.replace("\\", "") for warning in app.warning)
    app.text_input(key="import_loop").set_value("help-desk")
    app.button(key="import").click().run()
    assert not app.exception
    assert app.success[0].value == "2 new, 0 already here, 1 in quarantine."
    assert set(loop_ids(runtime.store())) == {"help-desk"}
    assert count_interactions(runtime.store()) == 2


def test_a_file_without_a_needed_column_cannot_be_imported_and_says_which(empty: Path, visit: Visit) -> None:
    app = visit("sources")
    app.segmented_control(key="file_kind").set_value("outcomes").run()
    app.file_uploader[0].upload("orders.csv", b"when,much\n2026-01-01,3\n").run()
    assert not app.exception
    assert "business_key" in app.warning[0].value.replace("\\", "")
    assert app.button(key="import").disabled


def test_a_file_that_is_no_table_is_one_sentence(empty: Path, visit: Visit) -> None:
    app = visit("sources")
    app.file_uploader[0].upload("data.parquet", b"PAR-not-really").run()
    assert not app.exception
    assert len(app.error) == 1


def test_a_quarantined_row_is_mended_on_the_page_and_goes_in(empty: Path, visit: Visit) -> None:
    visit("sources")
    bad = {"source": "app", "external_id": "1", "loop": "help-desk", "latency_ms": "soon", "output": "Hello"}
    ingest(runtime.store(), EventKind.INTERACTIONS, [bad], now=utcnow()).result()
    app = visit("sources")
    assert "latency_ms" in app.markdown[-1].value.replace("\\", "") or any("soon" in m.value for m in app.markdown)
    app.text_area[0].set_value('{"source": "app", "external_id": "1", "loop": "help-desk", "output": "Hello"}')
    app.button(key="FormSubmitter:mend-Send again").click().run()
    assert not app.exception
    assert count_waiting(runtime.store()) == 0
    assert count_interactions(runtime.store()) == 1


def test_a_mended_row_that_is_no_json_says_so_and_stays(empty: Path, visit: Visit) -> None:
    visit("sources")
    ingest(runtime.store(), EventKind.OUTCOMES, [{"external_id": "1"}], now=utcnow()).result()
    app = visit("sources")
    app.text_area[0].set_value("{broken")
    app.button(key="FormSubmitter:mend-Send again").click().run()
    assert not app.exception
    assert "not JSON" in app.error[0].value
    assert count_waiting(runtime.store()) == 1


def test_the_command_to_copy_never_shows_the_whole_key(empty: Path, visit: Visit) -> None:
    app = visit("sources")
    key = runtime.place().api_key()
    texts = [element.value for element in (*app.code, *app.caption, *app.markdown)]
    assert not any(key in text for text in texts)
    assert any("api_key" in text for text in texts)
