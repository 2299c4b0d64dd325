"""Puts the reports into the Airflow UI, for people who may see its plugins."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin


def _mounted() -> list[dict[str, Any]]:
    from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
    from airflow.api_fastapi.core_api.security import requires_access_view
    from fastapi import Depends

    from cae_pipeline.settings import read_settings
    from cae_pipeline.web.app import reports_app

    # an application of a plugin is open to everybody unless it checks by itself
    allowed = Depends(requires_access_view(AccessView.PLUGINS))
    app = reports_app(read_settings().path("reports"), dependencies=[allowed])
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
