"""Turn the text of a `failover.yaml` into a checked Config, with every complaint at its line."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from failover.config import Config
from failover.errors import ConfigError

Path = tuple[str | int, ...]

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedConfig:
    """A configuration and the lines that its values were written on (a value without a line is a default)."""

    config: Config
    source: str
    lines: Mapping[Path, int]

    def origin(self, path: Path) -> str:
        """ "failover.yaml:12", or "default"."""
        return f"{self.source}:{self.lines[path]}" if path in self.lines else "default"


def parse(text: str, source: str) -> LoadedConfig:
    """The checked configuration; ConfigError with one line per complaint (file, line, key, value, what is allowed)."""
    config, lines = checked(text, source, Config)
    return LoadedConfig(config=config, source=source, lines=lines)


def checked(text: str, source: str, model: type[Model]) -> tuple[Model, Mapping[Path, int]]:
    """What a YAML text says, as the model that it must be, and the line of every key; ConfigError as `parse`."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{source}:{line}: this is no valid YAML: {error.problem}.") from error
    if not isinstance(data, dict):
        needed = " and ".join(name for name, field in model.model_fields.items() if field.is_required())
        raise ConfigError(f"{source}:1: this file is a mapping with at least {needed}.")
    try:
        lines = dict(_lines(root, ()))
    except RecursionError as error:
        raise ConfigError(
            f"{source}: an alias in this file leads back to itself: write out what it stands for."
        ) from error
    _refuse_repeated_keys(root, source)
    try:
        return model.model_validate(data), lines
    except ValidationError as error:
        raise ConfigError("\n".join(_complaints(error, source, lines, model))) from error


def _lines(node: yaml.Node | None, path: Path) -> Iterator[tuple[Path, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*path, key.value), key.start_mark.line + 1
            yield from _lines(value, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*path, index), value.start_mark.line + 1
            yield from _lines(value, (*path, index))


def _refuse_repeated_keys(node: yaml.Node | None, source: str) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise ConfigError(
                    f"{source}:{key.start_mark.line + 1}: {key.value!r} stands twice; YAML would keep the last."
                )
            seen.add(key.value)
            _refuse_repeated_keys(value, source)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_repeated_keys(value, source)


def _complaints(
    error: ValidationError, source: str, lines: Mapping[Path, int], model: type[BaseModel]
) -> Iterator[str]:
    for problem in error.errors(include_url=False):
        path = tuple(part for part in problem["loc"] if part != "[key]")
        if path:
            key = ".".join(str(part) for part in path)
            yield f"{source}:{_line(path, lines)}: {key}: {_sentence(problem, path, model)}"
            continue
        # What is wrong between sections is said of the whole file, each on a line that begins with the key.
        for said in _sentence(problem, path, model).splitlines():
            yield f"{source}:{_line(tuple(said.split()[0].split('.')), lines)}: {said}"


def _line(path: Path, lines: Mapping[Path, int]) -> int:
    """The line of the key, else of the nearest section around it that is written in the file."""
    return next((lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in lines), 1)


def _sentence(problem: Any, path: Path, model: type[BaseModel]) -> str:
    message = str(problem["msg"]).removeprefix("Value error, ")
    match problem["type"]:
        case "extra_forbidden":
            return f"unknown key; {_allowed_keys(path[:-1], model)}."
        case "missing":
            return "this key is required and is not there."
        case _ if isinstance(problem["input"], dict | list) or path[-1:] == ("token",):
            # Whoever wrote the token itself where its hash belongs must not see it in a log, too.
            return "\n".join(f"{line.rstrip('.')}." for line in message.splitlines())
        case _:
            return f"{problem['input']!r} is not allowed: {message[0].lower()}{message[1:]}."


def _allowed_keys(path: Path, model: type[BaseModel]) -> str:
    section = model
    for part in path:
        inner = _inner(section, part)
        if inner is None:
            return "it is not one that this section knows"
        section = inner
    return "known here: " + ", ".join(sorted(section.model_fields))


def _inner(model: type[BaseModel], part: str | int) -> type[BaseModel] | None:
    """The section under a key, through `dict[Name, Section]` too."""
    field = model.model_fields.get(str(part))
    candidates = [model] if field is None else [field.annotation, *getattr(field.annotation, "__args__", ())]
    sections = [found for found in candidates if isinstance(found, type) and issubclass(found, BaseModel)]
    return sections[0] if sections else None
