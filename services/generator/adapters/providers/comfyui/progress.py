"""The progress of a workflow, from the messages that a ComfyUI server sends over its websocket."""

from collections.abc import Mapping
from typing import Any

from services.generator.adapters.providers.comfyui.entry import Node

#: The progress of a node with more steps is ignored.
MAX_STEPS = 1_000_000


class WorkflowProgress:
    """The progress of one prompt: every node counts the same, a running node by the share of its steps.

    `share` is from 0 to 1 and never falls. `ended` says that the server has ended the prompt and written its history.
    """

    def __init__(self, workflow: Mapping[str, Node], prompt_id: str) -> None:
        self.share = 0.0
        self.ended = False
        self._prompt_id = prompt_id
        self._needs = {name: _needs(node) & workflow.keys() for name, node in workflow.items()}
        self._done: set[str] = set()
        self._running: dict[str, float] = {}

    def update(self, message: Any) -> bool:
        """Applies a message of any form and of any prompt; returns whether `share` grew."""
        data = message.get("data") if isinstance(message, dict) else None
        if not isinstance(data, dict) or data.get("prompt_id") != self._prompt_id:
            return False
        self._apply(message.get("type"), data)
        running = sum(share for node, share in self._running.items() if node not in self._done)
        before, self.share = self.share, max(self.share, (len(self._done) + running) / len(self._needs))
        return self.share > before

    def _apply(self, kind: Any, data: Mapping[str, Any]) -> None:
        node = data.get("node", "")
        match kind:
            case "execution_cached":
                for item in _list(data.get("nodes")):
                    self._finish(item)
            case "executing" if node is None:
                # The last message of all. Messages with other names arrive before the history is written.
                self.ended = True
            case "executing" | "progress":
                self._run(node, data)
            case "progress_state":
                self._apply_states(data.get("nodes"))
            case "executed":
                self._finish(node)
            case "execution_success":
                self._done.update(self._needs)

    def _apply_states(self, states: Any) -> None:
        for node, state in states.items() if isinstance(states, dict) else ():
            match state:
                case {"state": "finished"}:
                    self._finish(node)
                case {"state": "running"}:
                    self._run(node, state)

    def _run(self, node: Any, data: Mapping[str, Any]) -> None:
        """Marks a node as running, and every node that it needs as finished, also without a message about them."""
        if isinstance(node, str) and node in self._needs:
            for item in self._needs[node]:
                self._finish(item)
            self._running[node] = max(self._running.get(node, 0.0), _share(data.get("value"), data.get("max")))

    def _finish(self, node: Any) -> None:
        waiting = [node]
        while waiting:
            item = waiting.pop()
            # Nodes that the server creates while it runs are not in the workflow.
            if isinstance(item, str) and item in self._needs and item not in self._done:
                self._done.add(item)
                waiting += self._needs[item]


def _needs(node: Node) -> set[str]:
    """Returns the nodes that give a node its inputs; such an input is a pair, the node and its output's index."""
    return {str(value[0]) for value in node.inputs.values() if isinstance(value, (list, tuple)) and value}


def _share(value: Any, limit: Any) -> float:
    if not isinstance(value, (int, float)) or not isinstance(limit, (int, float)):
        return 0.0
    return value / limit if 0 <= value <= limit <= MAX_STEPS and limit > 0 else 0.0


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
