"""
The type language of options.py: how each type is decoded, and its JSON Schema.

One branch of form_of is one type, and has both. Only pydantic's core decodes it, because the layer
above takes five times the memory and seven times as long to start (docs/decisions/0038).
"""

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

from pydantic_core import PydanticCustomError, SchemaValidator, core_schema
from pydantic_core.core_schema import CoreSchema, ValidationInfo

from monitor.config.files import check_readable
from monitor.config.messages import describe, listed
from monitor.config.nodes import MappingNode, Node, Reading, Scalar, SequenceNode, read_plain
from monitor.config.substitute import is_one_reference
from monitor.options import (
    ChecksFiles,
    Marker,
    Parsed,
    Ruled,
    SendsSecrets,
)
from monitor.secrecy import credentials, header_credentials, is_sensitive_header

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class Form:
    """
    One type of the language.

    Attributes:
        core: How pydantic decodes it.
        json: JSON Schema of what may be written.
        fields: A record's fields, by their YAML keys.
        item: The form of each item of a list, or of a mapping with free keys.
        secret: Whether values are never shown.
    """

    core: CoreSchema
    json: Json
    fields: Mapping[str, "Form"] = field(default_factory=dict)
    item: "Form | None" = None
    secret: bool = False

    @cached_property
    def validator(self) -> SchemaValidator:
        return SchemaValidator(self.core)

    def below(self, step: str | int) -> "Form | None":
        """Return the form at one key or index; None if there is none."""
        return self.fields.get(step, self.item) if isinstance(step, str) else self.item


# ---------------------------------------------------------------- from nodes to plain data


class LocatedText(str):
    """A text of the configuration that still knows its node."""

    __slots__ = ("node",)
    node: Scalar


class _WrittenInt(int):
    """A whole number that messages show as the file has it: ``017``, ``0x10``."""

    written: str

    def __repr__(self) -> str:
        return self.written


class _WrittenFloat(float):
    """Any other number that messages show as the file has it: ``1.10``, ``1e3``."""

    __slots__ = ("written",)
    written: str

    def __repr__(self) -> str:
        return self.written


def _as_written(value: Reading, text: str) -> Reading:
    """Return a number that knows how it was written, and anything else unchanged."""
    if isinstance(value, bool) or not isinstance(value, int | float) or str(value) == text:
        return value
    number = _WrittenInt(value) if isinstance(value, int) else _WrittenFloat(value)
    number.written = text
    return number


@dataclass(slots=True)
class SecretsAndFiles:
    """Collected while a value is decoded: the secrets in it, and the files that it names."""

    secrets: dict[str, None] = field(default_factory=dict)
    files: dict[Path, None] = field(default_factory=dict)


def data_of(node: Node, gathered: SecretsAndFiles, *, as_written: bool = False) -> Any:
    """
    Return the node as plain data: dict, list, LocatedText, numbers, bool, None.

    Args:
        as_written: Leave ``${…}`` in the texts, so that messages about them show no secret.
    """
    if isinstance(node, Scalar):
        return _scalar_data(node, gathered, as_written=as_written)
    if isinstance(node, SequenceNode):
        return [data_of(item, gathered, as_written=as_written) for item in node.items]
    data = {}
    for key, entry in node.entries.items():
        data[key] = data_of(entry.value, gathered, as_written=as_written)
        if key == "headers" and isinstance(entry.value, MappingNode):
            _gather_headers(entry.value, gathered)
    return data


def _scalar_data(node: Scalar, gathered: SecretsAndFiles, *, as_written: bool) -> Any:
    done = node.substitution
    if done is None and node.plain:
        value = read_plain(node.text)
        if not isinstance(value, str):
            return _as_written(value, node.text)
    written = LocatedText(done.written if done and as_written else node.text)
    written.node = node
    if done:
        gathered.secrets.update(dict.fromkeys(done.secrets))
    if "@" in written:
        gathered.secrets.update(dict.fromkeys(credentials(written)))
    return written


def _gather_headers(headers: MappingNode, gathered: SecretsAndFiles) -> None:
    for name, entry in headers.entries.items():
        if is_sensitive_header(name) and isinstance(entry.value, Scalar):
            gathered.secrets.update(dict.fromkeys(header_credentials(entry.value.text)))


def _reading(value: Any) -> Any:
    # `port: ${PORT}` is a number just as `port: 80` is, and so is `{port: "${PORT}"}`, because YAML
    # requires the quotes inside braces. If text is wanted, it stays text
    done = value.node.substitution if isinstance(value, LocatedText) else None
    if done and (value.node.plain or is_one_reference(done.written)):
        return read_plain(str(value))
    return value


def _plain(value: Any, *, read: bool, written: bool = False) -> Any:
    if isinstance(value, LocatedText):
        return _reading(value) if read else str(value)
    if isinstance(value, list):
        return [_plain(item, read=read, written=written) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item, read=read, written=written) for key, item in value.items()}
    # Plus creates a plain Python number: none of our types gets into a record
    return +value if isinstance(value, _WrittenInt | _WrittenFloat) and not written else value


# ---------------------------------------------------------------- one type after another

_SCALARS: Mapping[type, tuple[CoreSchema, Json]] = {
    str: (core_schema.str_schema(strict=True), {"type": "string"}),
    bool: (
        core_schema.no_info_before_validator_function(
            _reading, core_schema.bool_schema(strict=True)
        ),
        {"type": "boolean"},
    ),
    int: (
        core_schema.no_info_before_validator_function(
            _reading, core_schema.int_schema(strict=True)
        ),
        {"type": "integer"},
    ),
    float: (
        core_schema.no_info_before_validator_function(
            _reading, core_schema.float_schema(strict=True, allow_inf_nan=False)
        ),
        {"type": "number"},
    ),
}


def form_of(annotation: Any) -> Form:  # noqa: PLR0911  a branch, a type
    """
    Return the form of a type.

    Raises:
        TypeError: The type is not in the language of options.py.
    """
    if annotation in _SCALARS:
        core, json = _SCALARS[annotation]
        return Form(core=core, json=json)
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return record_form(annotation)
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return _choice_form({member.value: member for member in annotation})
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _annotated_form(args[0], args[1])
    if origin is Literal:
        return _choice_form({str(value): value for value in args})
    if origin in (Union, types.UnionType) and len(args) == 2 and args[1] is types.NoneType:  # noqa: PLR2004  X | None
        return _optional_form(form_of(args[0]))
    if origin is tuple and args[1:] == (...,):
        item = form_of(args[0])
        core = core_schema.tuple_schema([item.core], variadic_item_index=0, strict=False)
        return Form(core=core, json={"type": "array", "items": item.json}, item=item)
    if isinstance(origin, type) and issubclass(origin, Mapping) and args[0] is str:
        item = form_of(args[1])
        core = core_schema.dict_schema(_SCALARS[str][0], item.core)
        return Form(
            core=core, json={"type": "object", "additionalProperties": item.json}, item=item
        )
    raise TypeError(f"{annotation} is not in the language of monitor.options")


@cache  # every load asks again, and forms never change
def record_form(record: type) -> Form:
    """Return the form of a record; a key is its field's name without a ``_`` at the end."""
    hints = typing.get_type_hints(record, include_extras=True)
    forms: dict[str, Form] = {}
    cores = []
    properties: Json = {}
    required = []
    for declared in dataclasses.fields(record):
        key = declared.name.removesuffix("_")
        form = forms[key] = form_of(hints[declared.name])
        core = form.core
        doc = documentation(declared, hints[declared.name])
        properties[key] = described(form.json, doc)
        if declared.default is not dataclasses.MISSING:
            core = core_schema.with_default_schema(core, default=declared.default)
            properties[key].update(_default(hints[declared.name], declared.default))
        elif declared.default_factory is not dataclasses.MISSING:
            core = core_schema.with_default_schema(core, default_factory=declared.default_factory)
        else:
            required.append(key)
        cores.append(
            core_schema.dataclass_field(declared.name, core, kw_only=True, validation_alias=key)
        )
    core = core_schema.dataclass_schema(
        record,
        core_schema.dataclass_args_schema(record.__name__, cores, extra_behavior="forbid"),
        [declared.name for declared in dataclasses.fields(record)],
        post_init=hasattr(record, "__post_init__"),
        slots=hasattr(record, "__slots__"),
        strict=False,
    )
    if issubclass(record, SendsSecrets):
        core = core_schema.with_info_after_validator_function(_sent, core)
    if issubclass(record, ChecksFiles):
        core = core_schema.no_info_after_validator_function(_with_good_files, core)
    json: Json = {"type": "object", "additionalProperties": False, "properties": properties}
    if required:
        json["required"] = required
    return Form(core=core, json=json, fields=forms)


def documentation(declared: dataclasses.Field[Any], annotation: Any) -> str:
    """Return the text about a record's field: its documentation, and the bounds of its type."""
    bounds = [mark.bounds for mark in marks(annotation) if isinstance(mark, Parsed) and mark.bounds]
    return " ".join([*filter(None, [declared.metadata.get("doc")]), *bounds])


def described(json: Json, doc: str | None) -> Json:
    """Return the schema with its documentation, where editors look for it."""
    return {"description": doc, **json} if doc else dict(json)


def _annotated_form(base: Any, mark: Any) -> Form:
    if isinstance(mark, Parsed):
        core = core_schema.no_info_plain_validator_function(_decoder(mark.parse))
        return Form(core=core, json=dict(mark.schema))
    if isinstance(mark, Ruled):
        form = form_of(base)
        ruled = core_schema.no_info_after_validator_function(_checker(mark.check), form.core)
        return dataclasses.replace(form, core=ruled, json={**form.json, **mark.schema})
    if mark is Marker.SECRET and base is str:
        core = core_schema.with_info_plain_validator_function(_secret)
        return Form(core=core, json={"type": "string"}, secret=True)
    if mark is Marker.FILE and base is str:
        core = core_schema.with_info_plain_validator_function(_file)
        return Form(core=core, json={"type": "string"})
    raise TypeError(f"{base} marked {mark} is not in the language of monitor.options")


def _optional_form(form: Form) -> Form:
    json: Json = {"anyOf": [form.json, {"type": "null"}]}
    return dataclasses.replace(form, core=core_schema.nullable_schema(form.core), json=json)


def _choice_form(choices: Mapping[str, Any]) -> Form:
    def decode(value: Any) -> Any:
        # `version: 2` and `min_version: 1.2` are numbers to YAML
        number = isinstance(value, int | float) and not isinstance(value, bool)
        text = str(value) if number or isinstance(value, str) else None
        if text is not None and text in choices:
            return choices[text]
        raise _wrong(f"must be {listed(list(choices), 'or')}, not {describe(value)}")

    written: list[str | int | float] = []
    for text in choices:
        number = read_plain(text)
        written.append(text)
        if isinstance(number, int | float) and not isinstance(number, bool):
            written.append(number)
    core = core_schema.no_info_plain_validator_function(decode)
    return Form(core=core, json={"enum": written})


def _decoder(parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def decode(value: Any) -> Any:
        read = _plain(value, read=True)
        try:
            return parse(read)
        except ValueError as error:
            text = _plain(value, read=False)
            if text != read:
                try:
                    return parse(text)
                except ValueError:
                    pass
            raise _wrong(_said_of(parse, value) or str(error)) from None

    return decode


def _said_of(parse: Callable[[Any], Any], value: Any) -> str | None:
    """Return what is wrong with a value; the message quotes numbers as written."""
    try:
        parse(_plain(value, read=True, written=True))
    except ValueError as error:
        return str(error)
    return None


def _checker(check: Callable[[Any], None]) -> Callable[[Any], Any]:
    def checked(value: Any) -> Any:
        check(value)
        return value

    return checked


def _secret(value: Any, info: ValidationInfo[SecretsAndFiles]) -> str:
    if not isinstance(value, str):
        raise _wrong("must be text; put it in quotes")
    info.context.secrets[str(value)] = None
    return str(value)


def _sent(record: SendsSecrets, info: ValidationInfo[SecretsAndFiles]) -> SendsSecrets:
    info.context.secrets.update(dict.fromkeys(record.sent_secrets()))
    return record


def _with_good_files(record: ChecksFiles) -> ChecksFiles:
    record.check_files()
    return record


def _file(value: Any, info: ValidationInfo[SecretsAndFiles]) -> str:
    if not isinstance(value, LocatedText) or not value:
        raise _wrong(f"must be a path, not {describe(value)}")
    if value.node.source.foreign:
        raise _wrong(
            "may name no file where it is discovered; write it below the source's defaults"
        )
    path = value.node.source.path.parent / value
    info.context.files[path] = None
    try:
        check_readable(path)
    except ValueError as error:
        raise _wrong(str(error)) from None
    return str(path)


def _wrong(message: str) -> PydanticCustomError:
    return PydanticCustomError("wrong", "{message}", {"message": message})


# ---------------------------------------------------------------- defaults as people write them


def _default(annotation: Any, value: Any) -> Json:
    parsed = [mark for mark in marks(annotation) if isinstance(mark, Parsed)]
    for mark in parsed:
        if mark.show is not None and value is not None:
            return {"default": mark.show(value)}
    if isinstance(value, StrEnum):
        return {"default": value.value}
    if not parsed and isinstance(value, str | int | float) and value != "":
        return {"default": value}
    return {}


def marks(annotation: Any) -> tuple[Any, ...]:
    """Return the marks of a type, also of one that may be missing."""
    if get_origin(annotation) in (Union, types.UnionType):
        return marks(get_args(annotation)[0])
    return getattr(annotation, "__metadata__", ())
