"""The OpenAPI document of the webhook server, made of the very models that read what is sent."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from failover.alert_forms import FORMS
from failover.config import Config
from failover.driving import Verb
from failover.requests import Note
from failover.senders import Proof, Sender
from starter.webhooks.runs_door import SHAPES
from starter.webhooks.starts_door import Start

_SCHEMA = "#/components/schemas/"

_SCHEMES: Mapping[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "The sender's token, or an operator's."},
    "basic": {"type": "http", "scheme": "basic"},
    "signature": {"type": "apiKey", "in": "header", "name": "X-Failover-Signature", "description": "HMAC of the body."},
}

_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message"],
            "properties": {"message": {"type": "string", "description": "What happened, and what can be done now."}},
        }
    },
}

_DONE = {
    "type": "object",
    "required": ["said", "alerts"],
    "properties": {
        "said": {"type": "string"},
        "alerts": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["alert", "did", "said", "runs"],
                "properties": {
                    "alert": {"type": "string"},
                    "did": {"enum": ["started", "joined", "noted", "ignored", "repeated"]},
                    "said": {"type": "string"},
                    "runs": {"type": "array", "items": {"type": "string"}},
                },
            },
        },
    },
}

_ORDERED = {
    "type": "object",
    "required": ["run", "accepted", "said", "accepted_now"],
    "properties": {
        "run": {"type": "string"},
        "accepted": {"type": "boolean"},
        "said": {"type": "string"},
        "accepted_now": {"type": "array", "items": {"type": "string"}},
    },
}

_KEY = {"name": "Idempotency-Key", "in": "header", "required": False, "schema": {"type": "string", "maxLength": 100}}

_STARTED = {
    "type": "object",
    "required": ["run", "did", "said"],
    "properties": {
        "run": {"type": "string"},
        "did": {"enum": ["started", "joined", "repeated"]},
        "said": {"type": "string"},
    },
}

_SAID_BY_THE_SERVER = ("actor", "id", "by", "carried")
"""Fields that no sender may give: the server knows them."""


def document(config: Config) -> dict[str, Any]:
    """OpenAPI 3.1."""
    paths: dict[str, Any] = {
        f"/webhooks/{name}": {"post": _webhook(name, sender)} for name, sender in config.webhooks.senders.items()
    }
    paths |= {f"/runs/{{run}}/{verb}": {"post": _order(verb)} for verb in [*(verb.value for verb in Verb), "note"]}
    paths |= {
        "/runs": {"get": _look("The open runs, newest first.", []), "post": _start()},
        "/runs/{run}": {"get": _look("Where a run is, and what has happened in it.", [_run()])},
        "/slack/interactive": {"post": _slack()},
        "/healthz": {"get": _open("Whether the process is alive.", {"200": _json("Alive.", {"type": "object"})})},
        "/readyz": {
            "get": _open(
                "Whether alerts can be acted on.",
                {"200": _json("Ready.", {"type": "object"}), "503": _json("Not now.", {"type": "object"})},
            )
        },
        "/metrics": {
            "get": _open("For Prometheus.", {"200": {"description": "Metrics.", "content": {"text/plain": {}}}})
        },
        "/openapi.json": {"get": _open("This.", {"200": _json("OpenAPI.", {"type": "object"})})},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Failover webhooks", "version": version("failover-runbook")},
        "paths": paths,
        "components": {"schemas": _schemas(), "securitySchemes": dict(_SCHEMES)},
    }


def _schemas() -> dict[str, Any]:
    shapes: list[type[BaseModel]] = [*dict.fromkeys(FORMS.values()), *dict.fromkeys(SHAPES.values()), Note, Start]
    _, made = models_json_schema([(shape, "validation") for shape in shapes], ref_template=_SCHEMA + "{model}")
    schemas: dict[str, Any] = made["$defs"]
    ours: list[type[BaseModel]] = [*SHAPES.values(), Note]
    for shape in ours:
        schema = schemas[shape.__name__]
        for name in _SAID_BY_THE_SERVER:
            schema["properties"].pop(name, None)
        schema["required"] = [name for name in schema.get("required", []) if name not in _SAID_BY_THE_SERVER]
    return {**schemas, "Error": _ERROR, "Done": _DONE, "Ordered": _ORDERED, "Started": _STARTED}


def _webhook(name: str, sender: Sender) -> dict[str, Any]:
    return {
        "summary": f"Deploys told by {name}" if sender.kind == "deploy" else f"Alerts of {name} ({sender.kind})",
        "operationId": f"webhook-{name}",
        "security": _security(sender.how),
        "requestBody": _body(FORMS[sender.kind].__name__),
        "responses": {
            "200": _json("What was done.", {"$ref": f"{_SCHEMA}Done"}),
            **_errors("401", "408", "413", "422", "429", "503"),
        },
    }


def _security(how: Proof) -> list[dict[str, list[str]]]:
    return [{how: []}] if how in _SCHEMES else [{}]


def _order(verb: str) -> dict[str, Any]:
    shape = "Note" if verb == "note" else SHAPES[verb].__name__
    return {
        "summary": f"{verb.replace('_', ' ')} a run",
        "operationId": f"run-{verb}",
        "security": [{"bearer": []}],
        "parameters": [_run(), _KEY],
        "requestBody": _body(shape),
        "responses": {
            "200": _json("The run took the order.", {"$ref": f"{_SCHEMA}Ordered"}),
            "409": _json(
                "The run refused it.", {"anyOf": [{"$ref": f"{_SCHEMA}Ordered"}, {"$ref": f"{_SCHEMA}Error"}]}
            ),
            **_errors("401", "403", "404", "408", "413", "415", "422", "429", "503"),
        },
    }


def _start() -> dict[str, Any]:
    return {
        "summary": "Start a procedure",
        "operationId": "run-start",
        "security": [{"bearer": []}],
        "parameters": [_KEY],
        "requestBody": _body(Start.__name__),
        "responses": {
            "200": _json("What was done.", {"$ref": f"{_SCHEMA}Started"}),
            **_errors("401", "403", "408", "409", "413", "415", "422", "429", "503"),
        },
    }


def _look(summary: str, parameters: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "summary": summary,
        "security": [{"bearer": []}],
        "parameters": parameters,
        "responses": {
            "200": _json("As it is now.", {"type": "object"}),
            **_errors("401", "403", "404", "429", "503"),
        },
    }


def _slack() -> dict[str, Any]:
    form = {"type": "object", "required": ["payload"], "properties": {"payload": {"type": "string"}}}
    return {
        "summary": "Slack's interactivity request URL",
        "operationId": "slack-interactive",
        "requestBody": {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": form}}},
        "responses": {"200": {"description": "Taken."}, **_errors("401", "408", "413", "422", "429")},
    }


def _open(summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    return {"summary": summary, "responses": responses}


def _run() -> dict[str, Any]:
    schema = {"type": "string", "minLength": 1, "maxLength": 200}
    return {"name": "run", "in": "path", "required": True, "schema": schema, "description": "Such as gradual/chat."}


def _body(shape: str) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": {"$ref": _SCHEMA + shape}}}}


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _errors(*statuses: str) -> dict[str, Any]:
    return {status: _json("Why not, in a sentence.", {"$ref": f"{_SCHEMA}Error"}) for status in statuses}
