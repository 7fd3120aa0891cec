"""What Discord accepts as a webhook message, and the errors that it answers otherwise.

Lengths are code points after trimming (Discord's own counting); sources: discord-api-docs, resources/webhook.mdx and
resources/message.mdx. One rule is ours and stricter: allowed_mentions.parse must be there and be empty, because a
message that can ping is a mistake of the sender.
"""
import json
import re
from datetime import datetime

TITLE, DESCRIPTION, FIELDS, NAME, VALUE, FOOTER, AUTHOR = 256, 4096, 25, 256, 1024, 2048, 256
EMBEDS, SUM, CONTENT, USERNAME = 10, 6000, 2000, 80
FLAGS = (1 << 2) | (1 << 12) | (1 << 15)
URL = re.compile(r"^(?:https?|attachment)://\S+$")
STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)$")


class Refusal(Exception):
    """The answer to a message that is not accepted."""

    def __init__(self, status, code, message, errors):
        super().__init__(message)
        self.status, self.code, self.message, self.errors = status, code, message, errors

    @classmethod
    def field(cls, path, code, message):
        """400, code 50035, with the error at that path (["embeds", 0, "title"])."""
        errors = {"_errors": [{"code": code, "message": message}]}
        for key in reversed(path):
            errors = {str(key): errors} if key != "_errors" else errors
        return cls(400, 50035, "Invalid Form Body", errors)

    def body(self):
        body = {"message": self.message, "code": self.code}
        if self.errors:
            body["errors"] = self.errors
        return body


def check_message(body):
    """Bytes of a request -> the message, or raises Refusal."""
    message = _parse(body)
    _username(message)
    _flags(message)
    _mentions(message)
    _components(message.get("components"))
    content = _text(message, "content", CONTENT, ["content"], required=False)
    embeds = message.get("embeds")
    if embeds is None:
        embeds = []
    if not isinstance(embeds, list):
        raise Refusal.field(["embeds"], "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
    if len(embeds) > EMBEDS:
        raise Refusal.field(["embeds"], "BASE_TYPE_MAX_LENGTH", f"Must be {EMBEDS} or fewer in length.")
    total = sum(_embed(embed, ["embeds", i]) for i, embed in enumerate(embeds))
    if total > SUM:
        raise Refusal.field(["embeds"], "MAX_EMBED_SIZE_EXCEEDED", f"Embed size exceeds maximum size of {SUM}")
    if not content and not any(embeds):
        raise Refusal(400, 50006, "Cannot send an empty message", {})
    return message


def _parse(body):
    def constant(name):
        raise ValueError(f"{name} is not JSON")

    try:
        message = json.loads(body.decode("utf-8"), parse_constant=constant)
        json.dumps(message, ensure_ascii=False).encode("utf-8")  # refuses a lone surrogate
    except (ValueError, RecursionError) as error:
        raise Refusal(400, 50109, "The request body contains invalid JSON.", {}) from error
    if not isinstance(message, dict):
        raise Refusal.field([], "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
    return message


def _components(rows):
    """Rows of buttons, as the webhook of an application may send them."""
    seen = set()
    for i, row in enumerate(rows or []):
        buttons = row.get("components") if row.get("type") == 1 else None
        if not isinstance(buttons, list) or not 1 <= len(buttons) <= 5 or i >= 5:
            raise Refusal.field(["components", i], "COMPONENT_TYPE_INVALID", "The specified component type is invalid.")
        for j, button in enumerate(buttons):
            name = button.get("custom_id", "")
            if (button.get("type") != 2 or button.get("style") not in (1, 2, 3, 4) or not 1 <= len(name) <= 100
                    or name in seen or not 1 <= len(button.get("label", "")) <= 80):
                raise Refusal.field(["components", i, "components", j], "COMPONENT_INVALID", "Invalid button.")
            seen.add(name)


def _username(message):
    name = message.get("username")
    if name is None:
        return
    if not isinstance(name, str) or not 1 <= len(name.strip()) <= USERNAME:
        raise Refusal.field(["username"], "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {USERNAME} in length.")
    lower = name.lower()
    for word in ("clyde", "discord"):
        if word in lower:
            raise Refusal.field(["username"], "USERNAME_INVALID_CONTAINS", f'Username cannot contain "{word}"')
    if lower.strip() in ("everyone", "here"):
        raise Refusal.field(["username"], "USERNAME_INVALID_RESERVED", "Username is reserved")
    avatar = message.get("avatar_url")
    if avatar is not None and (not isinstance(avatar, str) or not URL.match(avatar)):
        raise Refusal.field(["avatar_url"], "URL_TYPE_INVALID_URL", "Not a well formed URL.")


def _flags(message):
    flags = message.get("flags", 0)
    if flags is None:
        return
    if isinstance(flags, bool) or not isinstance(flags, int) or flags & ~FLAGS:
        raise Refusal.field(["flags"], "BITFIELD_INVALID", "Invalid flags")


def _mentions(message):
    mentions = message.get("allowed_mentions")
    if not isinstance(mentions, dict) or mentions.get("parse") != [] or not isinstance(mentions.get("parse"), list):
        raise Refusal.field(["allowed_mentions", "parse"], "LIST_TYPE_CONVERT",
                            "allowed_mentions.parse must be an empty array")


def _text(holder, key, limit, path, required=True):
    """The trimmed text at `key`, "" when there is none and none is required."""
    value = holder.get(key)
    if value is None and not required:
        return ""
    if value is None:
        raise Refusal.field(path, "BASE_TYPE_REQUIRED", "This field is required")
    if not isinstance(value, str):
        raise Refusal.field(path, "STRING_TYPE_CONVERT", f'Could not interpret "{value}" as string.')
    value = value.strip()
    if required and not value:
        raise Refusal.field(path, "BASE_TYPE_REQUIRED", "This field is required")
    if len(value) > limit:
        raise Refusal.field(path, "BASE_TYPE_MAX_LENGTH", f"Must be {limit} or fewer in length.")
    return value


def _embed(embed, path):
    """The number of characters that count towards the sum."""
    if not isinstance(embed, dict):
        raise Refusal.field(path, "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
    total = len(_text(embed, "title", TITLE, path + ["title"], required=False))
    total += len(_text(embed, "description", DESCRIPTION, path + ["description"], required=False))
    total += _part(embed, "footer", "text", FOOTER, path) + _part(embed, "author", "name", AUTHOR, path)
    total += _fields(embed, path)
    _color(embed, path)
    stamp = embed.get("timestamp")
    if stamp is not None and not _is_stamp(stamp):
        raise Refusal.field(path + ["timestamp"], "DATE_TIME_TYPE_PARSE",
                            f'Could not parse {stamp!r}. Should be ISO8601.')
    _url(embed.get("url"), path + ["url"])
    for part in ("image", "thumbnail"):
        if embed.get(part) is not None:
            _url(embed[part].get("url") if isinstance(embed[part], dict) else embed[part], path + [part, "url"])
    return total


def _part(embed, part, key, limit, path):
    value = embed.get(part)
    if value is None:
        return 0
    if not isinstance(value, dict):
        raise Refusal.field(path + [part], "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
    return len(_text(value, key, limit, path + [part, key]))


def _fields(embed, path):
    fields = embed.get("fields")
    if fields is None:
        return 0
    if not isinstance(fields, list):
        raise Refusal.field(path + ["fields"], "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
    if len(fields) > FIELDS:
        raise Refusal.field(path + ["fields"], "BASE_TYPE_MAX_LENGTH", f"Must be {FIELDS} or fewer in length.")
    total = 0
    for i, field in enumerate(fields):
        here = path + ["fields", i]
        if not isinstance(field, dict):
            raise Refusal.field(here, "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
        total += len(_text(field, "name", NAME, here + ["name"]))
        total += len(_text(field, "value", VALUE, here + ["value"]))
        if not isinstance(field.get("inline", False), (bool, type(None))):
            raise Refusal.field(here + ["inline"], "BOOLEAN_TYPE_CONVERT", "Must be either true or false.")
    return total


def _color(embed, path):
    color = embed.get("color")
    if color is None:
        return
    if isinstance(color, bool) or not isinstance(color, int):
        raise Refusal.field(path + ["color"], "NUMBER_TYPE_COERCE", f'Value "{color}" is not int.')
    if not 0 <= color <= 0xFFFFFF:
        raise Refusal.field(path + ["color"], "NUMBER_TYPE_MAX", "int value should be less than or equal to 16777215.")


def _is_stamp(stamp):
    if not isinstance(stamp, str) or not STAMP.match(stamp):
        return False
    try:
        datetime.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")
    except ValueError:
        return False
    return True


def _url(url, path):
    if url is not None and (not isinstance(url, str) or not URL.match(url)):
        raise Refusal.field(path, "URL_TYPE_INVALID_URL", "Not a well formed URL.")
