"""The steps of a training: read the features, compare recipes, train, log, register, store.

`pooled_model` runs them for each period. How a model is fitted is in `forecasting`; how MLflow
stores one is in `registry.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING

from forecast_assets.settings import settings
from forecast_assets.steps.trained import Trained

if TYPE_CHECKING:
    import pandas as pd

    from forecasting.evaluation.comparison import Comparison
    from forecasting.models.pooled import Recipe
    from warehouse.connection import Transaction
    from warehouse.models import Champion


def read_rows(transaction: Transaction, end: date) -> tuple[pd.DataFrame, Champion | None]:
    """Return the feature rows to train on, and the champion.

    Args:
        transaction: The open transaction.
        end: The last day that the training may see.
    """
    from forecasting.models.training import training_stores
    from warehouse import models, sales

    stores = sales.stores(transaction)
    sample = training_stores(stores)
    # Days that have not come yet have no sales, whatever a mistyped date says.
    until = min(end, sales.today())
    rows = sales.features(transaction, until, sample if len(sample) < len(stores) else None)
    return rows, models.champion(transaction)


def train(
    rows: pd.DataFrame,
    *,
    compare: bool,
    champion_recipe: str | None,
    run_id: str,
    say: Callable[[str], None],
) -> Trained:
    """Train a model on all rows, with the recipe that forecast past origins better.

    Args:
        rows: Feature rows.
        compare: Whether to compare recipes, if the settings name two.
        champion_recipe: The recipe of the champion, which the other one has to beat.
        run_id: The active MLflow run.
        say: Called with progress messages.
    """
    from forecasting.models.training import fit_pooled

    trained_until = rows["date"].max().date()
    stores = rows["store"].nunique()
    challenger = settings().challenger_recipe if compare else None
    comparison = None
    if challenger is not None:
        comparison = _compare_recipes(rows, trained_until, champion_recipe, challenger, say)
    recipe = comparison.champion if comparison else settings().recipe
    say(
        f"Training on {len(rows):,} days of {stores:,} stores up to {trained_until}, "
        f"recipe {recipe}"
    )
    model = fit_pooled(rows, origin=trained_until, horizon=settings().horizon, recipe=recipe)
    version = f"{trained_until}-{run_id[:8]}"
    origins = {trial.origin for trial in comparison.trials} if comparison else set()
    return Trained(
        model=model,
        data=model.to_bytes(),
        version=version,
        run_id=run_id,
        rows=len(rows),
        stores=stores,
        comparison=comparison,
        compared_origins=len(origins) if challenger else None,
    )


def _compare_recipes(
    rows: pd.DataFrame,
    trained_until: date,
    champion_recipe: str | None,
    challenger: Recipe,
    say: Callable[[str], None],
) -> Comparison | None:
    """Compare the settings' recipe with the challenger; at a tie the champion's recipe stays."""
    from forecasting.evaluation.comparison import compare_recipes

    config = settings()
    recipes: tuple[Recipe, Recipe] = (config.recipe, challenger)
    if champion_recipe == challenger:
        recipes = (challenger, config.recipe)
    comparison = compare_recipes(
        rows,
        until=trained_until,
        recipes=recipes,
        horizon=config.horizon,
        measure=config.error_measure,
        progress=say,
    )
    if comparison is None:
        say(f"The history is too short to compare {recipes[0]} with {recipes[1]}")
    else:
        say(f"The better recipe: {comparison.summary(config.error_measure)}")
    return comparison


def log_training(
    trained: Trained, rows: pd.DataFrame, *, prefix: str, dagster_run_id: str
) -> dict[str, str]:
    """Log parameters, metrics, pictures, the data set and a description to the active MLflow run.

    Args:
        trained: The trained model.
        rows: The feature rows that it was trained on.
        prefix: Precedes each name; separates the models of one run.
        dagster_run_id: The Dagster run, for a link.

    Returns:
        Name -> picture as Markdown.
    """
    import mlflow

    from forecast_assets import plots
    from forecast_assets.pictures import draw_model
    from forecast_assets.steps import mlflow_pages

    model = trained.model
    parameters = {
        "recipe": model.recipe,
        "trained_until": str(model.trained_until),
        "horizon": settings().horizon,
        "stores": trained.stores,
        "days": trained.rows,
        "seed": model.seed,
    }
    mlflow.log_params({f"{prefix}{name}": value for name, value in parameters.items()})
    mlflow.log_metrics({f"{prefix}{name}": value for name, value in trained.metrics.items()})
    for step, measured in enumerate(model.by_origin):
        values = {f"{prefix}origin_{k}": v for k, v in measured.items() if k != "origin"}
        mlflow.log_metrics(values, step=step)
    for trial in trained.comparison.trials if trained.comparison else ():
        measured = {"rmspe": trial.rmspe, "wape": trial.wape, "seconds": trial.seconds}
        name = f"{prefix}comparison/{trial.origin}/{trial.recipe}"
        mlflow.log_metrics({f"{name}/{key}": value for key, value in measured.items()})
    pictures = draw_model(model)
    paths = [f"{prefix}plots/{name}.svg" for name in pictures]
    for path, svg in zip(paths, pictures.values(), strict=True):
        mlflow.log_text(svg, path)
    mlflow_pages.describe_run(trained, dagster_run_id, paths, rows)
    return {name: plots.markdown(svg, name.replace("_", " ")) for name, svg in pictures.items()}


def register(trained: Trained) -> str:
    """Register the model in MLflow; return its registered version."""
    from forecast_assets import registry
    from forecast_assets.steps import mlflow_pages

    model = trained.model
    tags = {
        "version": trained.version,
        "recipe": model.recipe,
        "trained_until": str(model.trained_until),
    }
    description = (
        f"{model.recipe}, trained until {model.trained_until} on {trained.rows:,} days of "
        f"{trained.stores:,} stores.\n\n{mlflow_pages.headlines(model)}"
    )
    registry.describe(mlflow_pages.REGISTERED)
    return registry.register(
        model, trained.data, name="pooled_model", tags=tags, description=description
    )


def store(transaction: Transaction, trained: Trained, start: date, registered: str) -> bool:
    """Store the model in the warehouse; name it champion if no other saw newer days.

    Args:
        transaction: The open transaction.
        trained: The trained model.
        start: The period that it belongs to.
        registered: Its registered version in MLflow.

    Returns:
        Whether it is the champion.
    """
    from forecast_assets import registry
    from warehouse import changes, models

    model = trained.model
    models.add_pooled(
        transaction,
        version=trained.version,
        period_start=start,
        trained_until=model.trained_until,
        recipe=model.recipe,
        mlflow_run_id=trained.run_id,
        mlflow_version=registered,
        metrics=trained.metrics,
        model=trained.data,
    )
    champion = models.champion(transaction)
    if champion is None or champion.version != trained.version:
        return False
    changes.note_champion(transaction)
    registry.name_version("champion", registered)
    return True


def register_challenger(trained: Trained) -> None:
    """Register the model that lost the comparison as challenger, if there was one."""
    from forecast_assets import registry
    from forecast_assets.steps import mlflow_pages

    if trained.comparison is None:
        return
    loser = trained.comparison.challenger_model
    registered = registry.register(
        loser,
        loser.to_bytes(),
        name="challenger",
        tags={
            "recipe": trained.comparison.challenger,
            "trained_until": str(loser.trained_until),
        },
        description=(
            f"{loser.recipe}, trained until {loser.trained_until}: it lost the comparison, "
            f"{trained.summary}.\n\n{mlflow_pages.headlines(loser)}"
        ),
    )
    registry.name_version("challenger", registered)
