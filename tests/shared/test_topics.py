from collections.abc import Callable

import pytest

from shared import topics
from shared.bus import matches
from shared.errors import WireError


def test_a_candidate_topic_names_site_node_and_line() -> None:
    read = topics.parse(topics.candidates("plant-1", "press-03", "strip"))

    assert read == topics.NodeTopic(site="plant-1", node="press-03", what="cand", line="strip")


@pytest.mark.parametrize("make", [topics.state, topics.heartbeat, topics.reported, topics.ack])
def test_a_nodes_topics_name_it_and_no_line(make: Callable[[str, str], str]) -> None:
    read = topics.parse(make("plant-1", "press-03"))

    assert (read.site, read.node, read.line) == ("plant-1", "press-03", None)


def test_the_ingest_filter_hears_candidates_of_its_own_site_only() -> None:
    pattern = topics.ingest("plant-1")

    assert matches(pattern, topics.candidates("plant-1", "press-03", "strip"))
    assert not matches(pattern, topics.candidates("plant-2", "press-03", "strip"))
    assert not matches(pattern, topics.heartbeat("plant-1", "press-03"))
    assert not matches(pattern, topics.ack("plant-1", "press-03"))


def test_the_filter_over_nodes_hears_each_node_but_not_the_trainer() -> None:
    pattern = topics.all_nodes("plant-1", "state")

    assert matches(pattern, topics.state("plant-1", "press-03"))
    assert not matches(pattern, topics.worker_state("plant-1", "main"))
    assert matches(topics.all_workers("plant-1"), topics.worker_state("plant-1", "main"))


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "winnow/v1/plant-1/press-03",
        "winnow/v2/plant-1/press-03/state",
        "winnow/v1/plant-1/press-03/cand/strip/more",
        "winnow/v1/plant-1/Press/state",
        "winnow/v1/plant-1//state",
        "winnow/v1/plant-1/../cand/strip",
        "winnow/v1/plant-1/_trainer/main/state",
        topics.hint("plant-1"),
        "other/v1/plant-1/press-03/state",
    ],
)
def test_a_topic_that_names_no_node_is_refused(topic: str) -> None:
    with pytest.raises(WireError, match="expected winnow/v1"):
        topics.parse(topic)


def test_names_cannot_widen_a_filter() -> None:
    with pytest.raises(WireError):
        topics.parse("winnow/v1/plant-1/+/state")
    with pytest.raises(WireError):
        topics.parse("winnow/v1/plant-1/press-03/#")
