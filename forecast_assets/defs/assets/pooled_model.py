"""`pooled_model`: what all stores have in common, trained now and then, frozen in versions."""

from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg

from forecast_assets.defs.asset_options import OWNERS, ROWLESS, table_metadata
from forecast_assets.defs.partitions import dates
from forecast_assets.defs.reporting import Materialized, output_without_partitions, report
from forecast_assets.defs.resources import WarehouseResource

if TYPE_CHECKING:
    import pandas as pd

    from forecasting.evaluation.comparison import Contest
    from forecasting.models.pooled import PooledModel

BARS = 15
"""As many of the weightiest regressors are shown."""


@dg.asset(
    partitions_def=dates,
    **ROWLESS,
    owners=OWNERS,
    group_name="models",
    deps=[
        dg.AssetDep(
            "features",
            partition_mapping=dg.MultiToSingleDimensionPartitionMapping(
                partition_dimension_name="date"
            ),
        )
    ],
    metadata=table_metadata("pooled_model"),
    kinds={"postgres", "mlflow", "scikitlearn"},
    description=(
        "What all stores have in common: coefficients that each store's own model is drawn "
        "towards, and how wide intervals must be. Sees nothing after its period's end. Every "
        "training is a version of its own, kept for ever and registered in MLflow; the newest is "
        "the champion. With a challenger in the settings, the recipe that forecast past origins "
        "better is the one that is trained on everything."
    ),
)
def pooled_model(
    context: dg.AssetExecutionContext,
    warehouse: WarehouseResource,
    mlflow: dg.ResourceParam[Any],
) -> Iterator[dg.Output[None]]:
    """Trains a pooled model on everything up to the end of each of the run's periods."""
    from forecast_assets.settings import settings

    calendar = settings().calendar
    materialized: Materialized = {}
    for key in context.partition_keys:
        start = date.fromisoformat(key)
        materialized[key] = _train(
            context, warehouse, mlflow, start, calendar.end_of(start), nested=bool(materialized)
        )
    mlflow.end_run()
    report(context, materialized)
    yield output_without_partitions()


def _train(
    context: dg.AssetExecutionContext,
    warehouse: WarehouseResource,
    mlflow: Any,
    start: date,
    end: date,
    *,
    nested: bool,
) -> dict[str, Any]:
    from forecast_assets import registry
    from forecast_assets.settings import settings
    from forecasting.models.training import fit_pooled, training_stores
    from warehouse import changes, models, sales

    chosen = settings()
    with warehouse.transaction() as transaction:
        everyone = sales.stores(transaction)
        learned_from = training_stores(everyone)
        rows = sales.features(
            transaction,
            end,
            learned_from if len(learned_from) < len(everyone) else None,
        )
        serving = models.pooled_for(transaction, date.max)
    if rows.empty:
        raise dg.Failure(
            f"No features up to {end}: materialize cleaned_sales and features of earlier periods "
            "first (the refresh sensor does so after a load)",
            allow_retries=False,
        )
    trained_until = rows["date"].max().date()
    contest = _contest(context, rows, trained_until, serving.recipe if serving else None)
    recipe = contest.champion if contest else chosen.recipe
    context.log.info(
        f"Training on {len(rows):,} days of {rows['store'].nunique():,} stores up to "
        f"{trained_until}, recipe {recipe}"
    )
    model = fit_pooled(rows, origin=trained_until, horizon=chosen.horizon, recipe=recipe)
    run_id = mlflow.active_run().info.run_id
    version = f"{trained_until}-{run_id[:8]}"
    prefix = f"{start}/" if nested else ""
    mlflow.log_params(
        {
            f"{prefix}recipe": recipe,
            f"{prefix}trained_until": str(trained_until),
            f"{prefix}horizon": chosen.horizon,
            f"{prefix}stores": rows["store"].nunique(),
            f"{prefix}days": len(rows),
            f"{prefix}seed": model.seed,
        }
    )
    pictures = _log(mlflow, model, contest, prefix)
    data = model.to_bytes()
    tags = {"version": version, "recipe": recipe, "trained_until": str(trained_until)}
    registered = registry.register(model, data, name="pooled_model", tags=tags)
    with warehouse.transaction() as transaction:
        models.add_pooled(
            transaction,
            version=version,
            period_start=start,
            trained_until=trained_until,
            recipe=recipe,
            mlflow_run_id=run_id,
            mlflow_version=registered,
            metrics=model.metrics,
            model=data,
        )
        newest = models.pooled_for(transaction, date.max)
        serves = newest is not None and newest.version == version
        if serves:
            changes.note_champion(transaction)
            registry.name_version("champion", registered)
    if contest is not None and serves:
        beaten = registry.register(
            contest.beaten,
            contest.beaten.to_bytes(),
            name="challenger",
            tags={
                "recipe": contest.challenger,
                "trained_until": str(contest.beaten.trained_until),
            },
        )
        registry.name_version("challenger", beaten)
    return {
        "version": version,
        "recipe": recipe,
        "trained_until": str(trained_until),
        "mlflow_run": run_id,
        "mlflow_version": registered,
        **{name: dg.MetadataValue.float(float(value)) for name, value in model.metrics.items()},
        **({"contest": contest.words(chosen.error_measure)} if contest else {}),
        **{name: dg.MetadataValue.md(picture) for name, picture in pictures.items()},
    }


def _contest(
    context: dg.AssetExecutionContext,
    rows: "pd.DataFrame",
    trained_until: date,
    serving: str | None,
) -> "Contest | None":
    """Compares both recipes, if the settings name two; the one that serves has to be beaten."""
    from forecast_assets.settings import settings
    from forecasting.evaluation.comparison import hold_contest

    chosen = settings()
    if chosen.challenger is None or chosen.challenger == chosen.recipe:
        return None
    recipes = (chosen.recipe, chosen.challenger)
    if serving == chosen.challenger:
        recipes = (chosen.challenger, chosen.recipe)
    contest = hold_contest(
        rows,
        until=trained_until,
        recipes=recipes,
        horizon=chosen.horizon,
        measure=chosen.error_measure,
        progress=context.log.info,
    )
    if contest is None:
        context.log.info(f"Too little history to compare {recipes[0]} with {recipes[1]}")
    else:
        context.log.info(f"The better recipe: {contest.words(chosen.error_measure)}")
    return contest


def _log(
    mlflow: Any, model: "PooledModel", contest: "Contest | None", prefix: str
) -> dict[str, str]:
    """Logs metrics and pictures to MLflow; returns the pictures as Markdown."""
    from forecast_assets import plots
    from forecasting.models.importance import linear_importance, tree_importance

    mlflow.log_metrics({f"{prefix}{name}": value for name, value in model.metrics.items()})
    for step, measured in enumerate(model.by_origin):
        values = {f"{prefix}origin_{k}": v for k, v in measured.items() if k != "origin"}
        mlflow.log_metrics(values, step=step)
    if contest is not None:
        for trial in contest.trials:
            found = {"rmspe": trial.rmspe, "wape": trial.wape, "seconds": trial.seconds}
            name = f"{prefix}contest/{trial.origin}/{trial.recipe}"
            mlflow.log_metrics({f"{name}/{key}": value for key, value in found.items()})
    drawn = {
        "importance": plots.bar_chart(
            "What moves a typical store's sales from day to day",
            [(str(name), float(v)) for name, v in linear_importance(model).head(BARS).items()],
        )
    }
    trees = tree_importance(model).head(BARS)
    if len(trees):
        drawn["tree_importance"] = plots.bar_chart(
            "What the trees look at, share of gain", [(str(k), float(v)) for k, v in trees.items()]
        )
    if model.by_origin:
        drawn["accuracy_by_origin"] = plots.line_chart(
            "Error on past origins that the model had not seen",
            [str(measured["origin"]) for measured in model.by_origin],
            [
                plots.Line(name.upper(), [measured[name] for measured in model.by_origin])
                for name in ("rmspe", "wape")
            ],
            percent=True,
        )
    for name, svg in drawn.items():
        mlflow.log_text(svg, f"{prefix}plots/{name}.svg")
    return {name: plots.markdown(svg, name.replace("_", " ")) for name, svg in drawn.items()}
