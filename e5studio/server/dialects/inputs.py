"""The texts of a request, given as texts or as token ids."""

from __future__ import annotations

import asyncio
from typing import Any, TypeGuard

from e5studio.server.fields import check_number, refuse, texts_field
from e5studio.server.request_errors import RequestError
from e5studio.server.served_models import loaded
from e5studio.server.service import Call
from e5studio.server.token_ids import MAX_TOKEN_ID


async def texts_or_ids(call: Call, name: str) -> list[str]:
    """The texts of a field: a text, a list of texts, token ids, or lists of them; a list may mix both.

    Raises:
        RequestError: The field holds something else, or ids that this server does not take.
    """
    value = call.body.get(name)
    max_items = call.service.max_items
    if is_ids(value):
        return await _spelled(call, [value], name)
    if isinstance(value, list) and any(isinstance(each, list) for each in value):
        check_number(value, name, max_items)
        return await _mixed(call, value, name)
    if isinstance(value, list) and value and all(isinstance(each, int) for each in value):
        refuse(name, f"`{name}` holds numbers that are no token ids.")
    return texts_field(call.body, name, max_items=max_items)


async def _mixed(call: Call, items: list[Any], name: str) -> list[str]:
    for index, each in enumerate(items):
        if not (isinstance(each, str) or is_ids(each)):
            raise RequestError(
                "invalid",
                f"`{name}` must hold texts or lists of token ids: number {index} (from 0) is neither.",
                param=f"{name}.{index}",
            )
    spelled = iter(await _spelled(call, [each for each in items if not isinstance(each, str)], name))
    return [each if isinstance(each, str) else next(spelled) for each in items]


async def _spelled(call: Call, lists: list[list[int]], name: str) -> list[str]:
    token_ids = call.service.token_ids
    token_ids.check_taken(name)
    encoder = loaded((call.named or call.first_model()).model).encoder
    return await asyncio.to_thread(token_ids.texts, encoder, lists, name)


def is_ids(value: object) -> TypeGuard[list[int]]:
    """Whether a value is a list of what could be token ids, at least one."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(each, int) and not isinstance(each, bool) and 0 <= each <= MAX_TOKEN_ID for each in value)
    )
