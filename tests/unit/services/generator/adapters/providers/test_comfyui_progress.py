"""How far a workflow is, by the messages of a ComfyUI server, whatever they are."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.generator.adapters.providers.comfyui.entry import Node
from services.generator.adapters.providers.comfyui.progress import WorkflowProgress

#: 9 saves what 3 draws of 6 and 7, which both need 4.
WORKFLOW = {
    "4": Node(class_type="CheckpointLoaderSimple", inputs={"ckpt_name": "m"}),
    "6": Node(class_type="CLIPTextEncode", inputs={"text": "a", "clip": ["4", 1]}),
    "7": Node(class_type="CLIPTextEncode", inputs={"text": "b", "clip": ["4", 1]}),
    "3": Node(class_type="KSampler", inputs={"seed": 1, "positive": ["6", 0], "negative": ["7", 0], "model": ["4", 0]}),
    "9": Node(class_type="SaveImage", inputs={"images": ["3", 0]}),
}


def message(kind: str, **told: Any) -> dict[str, Any]:
    """A message about our prompt."""
    return {"type": kind, "data": {"prompt_id": "p1"} | told}


def shares(*told: Any) -> list[float]:
    """The share after each message by which it grew."""
    progress = WorkflowProgress(WORKFLOW, "p1")
    return [round(progress.share, 3) for one in told if progress.update(one)]


def states(**nodes: tuple[str, float, float]) -> dict[str, Any]:
    """What a newer server tells of all nodes at once; names are the nodes' own after an n."""
    told = {name[1:]: {"state": state, "value": value, "max": most} for name, (state, value, most) in nodes.items()}
    return message("progress_state", nodes=told)


def test_each_node_counts_the_same_and_one_that_runs_by_its_steps() -> None:
    assert shares(
        message("executing", node="4"),
        message("executing", node="6"),
        message("executing", node="7"),
        message("executing", node="3"),
        message("progress", node="3", value=5, max=20),
        message("progress", node="3", value=20, max=20),
        message("executing", node="9"),
        message("executed", node="9", output={}),
        message("execution_success"),
    ) == [0.2, 0.6, 0.65, 0.8, 1.0]


def test_the_states_of_all_nodes_at_once_tell_the_same() -> None:
    assert shares(
        states(n4=("running", 0, 1)),
        states(n4=("finished", 1, 1)),
        states(n4=("finished", 1, 1), n6=("running", 1, 2)),
        states(n3=("running", 1, 4), n9=("pending", 1, 1)),
    ) == [0.2, 0.3, 0.65]


def test_who_comes_late_knows_what_must_have_run_before() -> None:
    assert shares(message("progress", node="3", value=1, max=2)) == [0.7]


def test_what_the_server_has_kept_is_done() -> None:
    assert shares(message("execution_cached", nodes=["4", "6", "unknown", 7, ["4"]])) == [0.4]


def test_it_never_falls_when_a_node_starts_its_steps_anew() -> None:
    steps = [message("progress", node="3", value=value, max=4) for value in (1, 3, 1, 2, 4)]
    assert shares(*steps) == [0.65, 0.75, 0.8]


def test_nodes_that_are_not_of_the_workflow_count_nothing() -> None:
    assert shares(message("executed", node="3.0.1"), states(n30=("finished", 1, 1))) == []


@pytest.mark.parametrize("told", [{"prompt_id": "p2", "node": "9"}, {"node": "9"}, {"prompt_id": None, "node": None}])
def test_other_prompts_are_none_of_ours(told: dict[str, Any]) -> None:
    progress = WorkflowProgress(WORKFLOW, "p1")

    assert not any(progress.update({"type": kind, "data": told}) for kind in ("executing", "executed", "progress"))
    assert (progress.share, progress.ended) == (0.0, False)


@pytest.mark.parametrize("kind", ["execution_success", "execution_error", "execution_interrupted"])
def test_only_what_is_told_after_the_history_was_written_is_the_end(kind: str) -> None:
    progress = WorkflowProgress(WORKFLOW, "p1")
    progress.update(message(kind, node_id="3", exception_message="no"))
    assert not progress.ended

    progress.update(message("executing", node=None))
    assert progress.ended


@pytest.mark.parametrize(
    ("value", "most"),
    [(3, 2), (-1, 2), (0, 0), ("1", 2), (None, None), (float("nan"), 1), (1, float("inf")), (10**400, 10**400)],
)
def test_steps_that_make_no_sense_are_none(value: Any, most: Any) -> None:
    assert shares(message("progress", node="4", value=value, max=most)) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["3", "9", "running", "finished"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["3", "value", "max", "state"]), inner),
    max_leaves=8,
)
KINDS = ["executing", "progress", "progress_state", "executed", "execution_cached", "execution_success", 7, None]


@given(
    st.lists(
        st.one_of(
            JSON,
            st.fixed_dictionaries(
                {
                    "type": st.sampled_from(KINDS),
                    "data": st.fixed_dictionaries(
                        {"prompt_id": st.just("p1")},
                        optional={"node": JSON, "nodes": JSON, "value": JSON, "max": JSON},
                    ),
                }
            ),
        ),
        max_size=5,
    )
)
def test_nothing_that_is_told_breaks_it(told: list[Any]) -> None:
    grown = shares(*told)

    assert grown == sorted(grown)
    assert all(0 <= share <= 1 for share in grown)
