"""Holds what an agencies' port answers against its own OpenAPI document, in whatever test it answers."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import httpx2
from jsonschema import Draft202012Validator

ONLY_SOMETIMES: Final = {"idempotent-replayed"}


class Description:
    """A document to hold answers against; its objects are taken for closed, so that no member goes untold."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = json.loads(json.dumps(document))
        paths = document["paths"].items()
        self._paths = [(re.compile(re.sub(r"{\w+}", "[^/]+", path)), methods) for path, methods in paths]
        for name, schema in self._document["components"]["schemas"].items():
            if not name.startswith("problem"):
                schema.setdefault("additionalProperties", False)

    async def check(self, answer: httpx2.Response) -> None:
        """A hook for a client: fails where the document does not tell of such an answer."""
        operation = self._operation(answer.request)
        if operation is None:
            return
        name, status = operation["operationId"], str(answer.status_code)
        assert status in operation["responses"], f"the document of {name} tells of no {status}"
        told = self._found(operation["responses"][status])
        if "content" not in told:
            return
        await answer.aread()
        kind = answer.headers["content-type"].partition(";")[0]
        schema = self._document | told["content"][kind]["schema"]
        Draft202012Validator(schema).validate(answer.json() if kind.endswith("json") else answer.text)
        headers = {header.lower() for header in told.get("headers", ())} - ONLY_SOMETIMES
        assert headers <= answer.headers.keys(), f"{name} answers {status} without {headers}"

    def _operation(self, request: httpx2.Request) -> Mapping[str, Any] | None:
        for path, methods in self._paths:
            if path.fullmatch(request.url.path):
                found: Mapping[str, Any] | None = methods.get(request.method.lower())
                return found
        return None

    def _found(self, told: Mapping[str, Any]) -> Mapping[str, Any]:
        reference = told.get("$ref", "")
        return self._document["components"]["responses"][reference.rpartition("/")[2]] if reference else told
