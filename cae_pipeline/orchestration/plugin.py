"""Puts the reports and the API of review into Airflow, for people who may see its plugins."""

from __future__ import annotations

from functools import cache
from typing import Any

from airflow.plugins_manager import AirflowPlugin


def _mounted() -> list[dict[str, Any]]:
    from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, DagAccessEntity
    from airflow.api_fastapi.core_api.security import get_user, requires_access_dag, requires_access_view
    from fastapi import Depends

    from cae_pipeline.settings import read_settings
    from cae_pipeline.web.api import review_api
    from cae_pipeline.web.app import reports_app
    from cae_pipeline.wiring import connect

    may_train = requires_access_dag("POST", DagAccessEntity.RUN, param_dag_id="train_model")

    # who may have a model trained may say what it is to be trained on
    def judge(user: Any = Depends(get_user), _allowed: None = Depends(may_train)) -> str:
        return str(user.get_name())

    # an application of a plugin is open to everybody unless it checks by itself
    allowed = Depends(requires_access_view(AccessView.PLUGINS))
    app = reports_app(read_settings().path("reports"), dependencies=[allowed])
    app.include_router(review_api(cache(lambda: connect(read_settings())), judge=judge), dependencies=[allowed])
    return [{"app": app, "url_prefix": "/cae", "name": "cae-pipeline"}]


class CaePlugin(AirflowPlugin):
    """Registered by the `airflow.plugins` entry point."""

    name = "cae_pipeline"
    external_views = [  # noqa: RUF012  # Airflow declares it so
        {
            "name": "Night reports",
            "href": "/cae/reports",
            "destination": "nav",
            "category": "browse",
            "url_route": "night-reports",
        }
    ]

    @classmethod
    def on_load(cls, *_args: Any, **_kwargs: Any) -> None:
        """Build the application only in processes that load plugins."""
        cls.fastapi_apps = _mounted()
