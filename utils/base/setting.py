"""Settings: fields of the dataclasses of options.py that also define an argument, so that each is stated once."""

import dataclasses
from collections.abc import Collection, Mapping

REQUIRED = dataclasses.MISSING  # the default of a setting without one


def setting(default, help: str, *, key: Mapping = {}, flag: str | None = None, **argument):
    """Return a dataclass field with its argument.

    key: metadata for `weight_settings`. flag: the argument's name if it is not `--NAME` of the field. argument: further
    keywords of `add_argument`, such as `type` and `choices`.
    """
    return dataclasses.field(default=default, metadata={**key, "argument": {"flag": flag, "help": help, **argument}})


def add_setting(group, kind: type, name: str, *, called: str | None = None, **changes) -> None:
    """Add the argument of the field `name` of the dataclass `kind` to an argument group.

    called: another name for the argument and its value. changes: keywords of `add_argument` that replace those of the
    field, for a script with another default or another help text.
    """
    part = next(part for part in dataclasses.fields(kind) if part.name == name)
    argument = dict(part.metadata["argument"])
    flag = argument.pop("flag") or f"--{name}"
    default = {"required": True} if part.default is REQUIRED and "default" not in changes else {"default": part.default}
    argument = {"dest": name, **default, **argument, **changes}
    if called is not None:
        flag, argument["dest"] = f"--{called}", called
    group.add_argument(flag, **argument)


def add_settings(group, kind: type, *, leave_out: Collection[str] = (), **changes: dict) -> None:
    """Add the arguments of all settings of the dataclass `kind` but `leave_out`.

    changes: by name of a field, the `changes` of `add_setting`.
    """
    for part in dataclasses.fields(kind):
        if "argument" in part.metadata and part.name not in leave_out:
            add_setting(group, kind, part.name, **changes.get(part.name, {}))
