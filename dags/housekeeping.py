"""Every week: remove old maps of images that were not flagged, check the tables, back them up."""

from airflow.sdk import CronTriggerTimetable, dag, task

from cae_pipeline.orchestration.tasks import TASK_DEFAULTS, plant_time_zone, run_cae


@dag(
    schedule=CronTriggerTimetable("0 6 * * 0", timezone=plant_time_zone()),
    catchup=False,
    max_active_runs=1,
    default_args=TASK_DEFAULTS,
    tags=["cae"],
    doc_md=__doc__,
)
def housekeeping():
    @task
    def keep_house():
        return run_cae("housekeeping")

    keep_house()


housekeeping()
