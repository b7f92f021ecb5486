"""How far a workflow is, by what a ComfyUI server tells over its websocket."""

from collections.abc import Mapping
from typing import Any

from services.generator.adapters.providers.comfyui.entry import Node

#: A node of more steps is taken for one that does not tell them.
MOST_STEPS = 1_000_000


class WorkflowProgress:
    """Follows one prompt: each node of its workflow counts the same, one that runs by the share of its steps.

    `share` is from 0 to 1 and never falls. `ended`: the server is done with the prompt, and has written its history.
    """

    def __init__(self, workflow: Mapping[str, Node], prompt_id: str) -> None:
        self.share = 0.0
        self.ended = False
        self._prompt_id = prompt_id
        self._needs = {name: _needs(node) & workflow.keys() for name, node in workflow.items()}
        self._done: set[str] = set()
        self._running: dict[str, float] = {}

    def heed(self, message: Any) -> bool:
        """Take in a message of whatever form, and of whatever prompt; tells whether the share grew by it."""
        told = message.get("data") if isinstance(message, dict) else None
        if not isinstance(told, dict) or told.get("prompt_id") != self._prompt_id:
            return False
        self._take_in(message.get("type"), told)
        running = sum(share for node, share in self._running.items() if node not in self._done)
        before, self.share = self.share, max(self.share, (len(self._done) + running) / len(self._needs))
        return self.share > before

    def _take_in(self, kind: Any, told: Mapping[str, Any]) -> None:
        node = told.get("node", "")
        match kind:
            case "execution_cached":
                for one in _list(told.get("nodes")):
                    self._finish(one)
            case "executing" if node is None:
                # Told last of all. The ends of other names come before the history is written.
                self.ended = True
            case "executing" | "progress":
                self._run(node, told)
            case "progress_state":
                self._take_in_states(told.get("nodes"))
            case "executed":
                self._finish(node)
            case "execution_success":
                self._done.update(self._needs)

    def _take_in_states(self, states: Any) -> None:
        for node, state in states.items() if isinstance(states, dict) else ():
            match state:
                case {"state": "finished"}:
                    self._finish(node)
                case {"state": "running"}:
                    self._run(node, state)

    def _run(self, node: Any, told: Mapping[str, Any]) -> None:
        """A node runs, so all that it needs has run: it need not have been told, or heard."""
        if isinstance(node, str) and node in self._needs:
            for one in self._needs[node]:
                self._finish(one)
            self._running[node] = max(self._running.get(node, 0.0), _share(told.get("value"), told.get("max")))

    def _finish(self, node: Any) -> None:
        waiting = [node]
        while waiting:
            one = waiting.pop()
            # Nodes that the server makes while it works are not of the workflow.
            if isinstance(one, str) and one in self._needs and one not in self._done:
                self._done.add(one)
                waiting += self._needs[one]


def _needs(node: Node) -> set[str]:
    """The nodes that give a node its inputs: such an input is a pair, the node and which of its outputs."""
    return {str(value[0]) for value in node.inputs.values() if isinstance(value, (list, tuple)) and value}


def _share(value: Any, most: Any) -> float:
    if not isinstance(value, (int, float)) or not isinstance(most, (int, float)):
        return 0.0
    return value / most if 0 <= value <= most <= MOST_STEPS and most > 0 else 0.0


def _list(told: Any) -> list[Any]:
    return told if isinstance(told, list) else []
