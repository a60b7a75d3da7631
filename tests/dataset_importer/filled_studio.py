"""A Label Studio that takes what an import sends, and gives it back to an export."""

from __future__ import annotations

import re
from typing import Any

from annotated_studio import AnnotatedStudio


class FilledStudio(AnnotatedStudio):
    """Attributes: `refuses`: paths with this in them answer 500."""

    refuses = ""

    def answer(self, path: str, authorization: str | None) -> tuple[int, Any]:
        if path.startswith("/api/webhooks/"):
            return 200, []
        return super().answer(path, authorization)

    def take(self, method: str, path: str, payload: Any) -> tuple[int, Any]:
        """Store tasks, predictions and annotations."""
        if self.refuses and self.refuses in path:
            return 500, {}
        number = re.sub(r"\D", "", path)
        if path.startswith("/api/projects/3/import"):
            return 201, {"task_ids": [self.add_task(each["data"]) for each in payload]}
        if method == "PATCH":
            self.tasks[int(number)]["data"] = payload["data"]
            return 200, {}
        if path == "/api/predictions/":
            stored = {**payload, "id": len(self.calls), "created_at": "2026-01-01"}
            self.tasks[payload["task"]]["predictions"].append(stored)
        elif path.endswith("/annotations/"):
            made = self.annotation(int(number) * 10, payload["result"], "2026-01-01T10:00:00Z")
            self.tasks[int(number)]["annotations"].append({**made, "ground_truth": payload["ground_truth"]})
        return 201, {"id": 1}

    def results(self, kind: str = "predictions") -> list[dict[str, Any]]:
        """All results of all tasks, in their order."""
        return [result for task in self.tasks.values() for each in task[kind] for result in each["result"]]
