"""The privacy notice says what is true."""

from __future__ import annotations

from e5studio.studio.page import privacy
from e5studio.studio.serving.sessions import CLOSED_SECONDS
from e5studio.studio.serving.uploads import KEPT_SECONDS


def test_the_notice_names_the_limits_that_hold(services):
    notice = str(privacy.PRIVACY_NOTICE)
    assert f"{CLOSED_SECONDS // 60} minutes after it is closed" in notice
    assert {services.downloads._kept_seconds, services.visitor_stores._kept_seconds, KEPT_SECONDS} == {
        3600
    }  # "an hour"
