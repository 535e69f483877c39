"""Who may look, and who may act: Airflow's own answer.

Airflow leaves apps of plugins unprotected, and has no stable module for protecting them: what this
package needs of its security is imported here and nowhere else.
"""

from __future__ import annotations

from typing import Annotated

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_view
from fastapi import Depends, Header, HTTPException, status

__all__ = ["ACTION_HEADER", "Actor", "BaseUser", "Viewer", "looks", "may_act"]

ACTION_HEADER = "X-Streamer-Action"

looks = Depends(requires_access_view(AccessView.CLUSTER_ACTIVITY))
"""For the whole app: 401 without a log-in, 403 for who may not see what the cluster does."""

Viewer = GetUserDep


def may_act(user: BaseUser) -> bool:
    """Whether this user may change what DAGs do: maintenance is as much as that.

    Asked without a DAG: `requires_access_dag` takes one from the query, which is the caller's word,
    and who may change one DAG may not thereby cancel everybody's operations.
    """
    return bool(get_auth_manager().is_authorized_dag(method="PUT", user=user))


def _acting(
    user: GetUserDep,
    action: Annotated[str, Header(alias=ACTION_HEADER)] = "",
) -> BaseUser:
    """A form of another site sends the cookie along, but no header of its own making."""
    if not action:
        raise HTTPException(
            status.HTTP_403_FORBIDDEN, f"the header {ACTION_HEADER} is missing: use the page"
        )
    if not may_act(user):
        raise HTTPException(
            status.HTTP_403_FORBIDDEN, "you may look, and not act: ask for the right to edit DAGs"
        )
    return user


Actor = Annotated[BaseUser, Depends(_acting)]
"""Whoever may change something. 403 for all others."""
