"""The form of a manual job, made from the argument dataclass of its task."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from typing import Any, get_type_hints

from acaflow.errors import InputError
from acaflow.runtime.messages import TASKS, Task, parse_args

__all__ = ["Field", "Form", "manual_tasks", "read_form"]

_WANTED = {int: "a whole number, for example 3", float: "a number, for example 0.5"}


@dataclass(frozen=True)
class Field:
    """One argument as an input: what was given, what helps, what is wrong."""

    name: str
    kind: type
    value: str
    help: str
    required: bool
    error: str = ""

    @property
    def label(self) -> str:
        """The name as a heading."""
        return self.name.replace("_", " ").capitalize()


@dataclass(frozen=True)
class Form:
    """A filled form; `values` are what the task takes, complete only without errors."""

    task: Task
    fields: list[Field]
    values: dict[str, Any]

    @property
    def errors(self) -> list[Field]:
        """The fields that are wrong."""
        return [field for field in self.fields if field.error]


def manual_tasks() -> list[Task]:
    """Return the tasks that people may queue."""
    return [task for task in TASKS.values() if task.manual]


def read_form(
    task: Task, given: Mapping[str, str] | None, first: Mapping[str, str] | None = None
) -> Form:
    """Make the form of a task, filled from `given`; None is the first look, filled from `first`."""
    hints = get_type_hints(task.args)
    names = {item.name for item in dataclasses.fields(task.args)} if given is None else set()
    values: dict[str, Any] = {name: text for name, text in (first or {}).items() if name in names}
    for item in dataclasses.fields(task.args):
        if hints[item.name] is bool and given is not None:
            values[item.name] = item.name in given
        elif given is not None and given.get(item.name, "").strip():
            values[item.name] = given[item.name].strip()
    problems = _problems(task, values) if given is not None else []
    made = [
        _field(task, item, hints[item.name], values, problems)
        for item in dataclasses.fields(task.args)
    ]
    return Form(task, made, values)


def _problems(task: Task, values: Mapping[str, Any]) -> list[str]:
    try:
        parse_args(task, values)
    except InputError as err:
        return str(err).split("; ")
    return []


def _field(
    task: Task,
    item: dataclasses.Field[Any],
    kind: type,
    values: Mapping[str, Any],
    problems: list[str],
) -> Field:
    default = "" if item.default is MISSING else item.default
    error = ""
    if any(re.match(rf"{item.name} = ", problem) for problem in problems):
        wanted = _WANTED.get(kind, "text")
        error = f"“{values[item.name]}” does not fit. Give {wanted}."
    elif any(problem.startswith(f"{task.name} needs {item.name} ") for problem in problems):
        error = "Nothing is given here, and the task needs it."
    return Field(
        item.name,
        kind,
        str(values.get(item.name, default)),
        str(item.metadata.get("help", "")),
        item.default is MISSING,
        error,
    )
