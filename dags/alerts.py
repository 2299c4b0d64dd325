"""Every half hour: tell when no batch has arrived by its hour, and tell again what nobody received."""

from airflow.sdk import CronTriggerTimetable, dag, get_current_context, task

from cae_pipeline.orchestration.tasks import TASK_DEFAULTS, check_lines, night_of, plant_time_zone, run_for_lines, tell


@dag(
    schedule=CronTriggerTimetable("*/30 * * * *", timezone=plant_time_zone()),
    catchup=False,
    max_active_runs=1,
    default_args=TASK_DEFAULTS,
    tags=["cae"],
    doc_md=__doc__,
)
def alerts():
    @task
    def alert(dag_run=None):
        tell(run_for_lines("alert", "--night", night_of(dag_run, {})), get_current_context())
        check_lines("alert")

    alert()


alerts()
