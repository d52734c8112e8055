"""A backfill that is launched as Dagster's UI does, through the webserver's GraphQL."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from local_stack.http import graphql

#: Assets that a backtest materializes.
ASSETS = ("cleaned_sales", "features", "store_models", "forecasts", "forecast_accuracy")


@dataclass(frozen=True)
class Backfill:
    """A launched backfill of asset partitions."""

    url: str
    number: str

    @classmethod
    def launch(cls, url: str, keys: Sequence[str]) -> Backfill:
        """Launch a backfill as the button of the UI's dialogue does.

        Args:
            url: The webserver's GraphQL endpoint.
            keys: The partitions' keys.
        """
        chosen = ", ".join(f"{{path: [{json.dumps(asset)}]}}" for asset in ASSETS)
        answer = graphql(
            url,
            f"""
            mutation {{ launchPartitionBackfill(backfillParams: {{
                assetSelection: [{chosen}], partitionNames: {json.dumps(list(keys))}
            }}) {{
                __typename
                ... on LaunchBackfillSuccess {{ backfillId }}
                ... on PythonError {{ message }}
            }} }}
            """,
        )["launchPartitionBackfill"]
        assert answer["__typename"] == "LaunchBackfillSuccess", answer
        return cls(url, answer["backfillId"])

    def state(self) -> str:
        """Return Dagster's name of the state, such as REQUESTED or COMPLETED_SUCCESS."""
        state: str = graphql(
            self.url,
            f"""{{ partitionBackfillOrError(backfillId: "{self.number}") {{
                ... on PartitionBackfill {{ status }} }} }}""",
        )["partitionBackfillOrError"]["status"]
        return state

    def is_over(self) -> bool:
        """Return whether the backfill launches no more runs."""
        return self.state().startswith(("COMPLETED", "FAILED", "CANCELED"))

    def runs(self) -> Counter[str]:
        """Return the number of the backfill's runs by status."""
        runs = graphql(
            self.url,
            f"""{{ runsOrError(filter: {{tags: [
                {{key: "dagster/backfill", value: "{self.number}"}}]}}) {{
                ... on Runs {{ results {{ status }} }} }} }}""",
        )["runsOrError"]["results"]
        return Counter(run["status"] for run in runs)


def store_partitions(url: str) -> list[str]:
    """Return the stores for which `forecasts` has partitions."""
    dimensions = graphql(
        url,
        """{ assetNodeOrError(assetKey: {path: ["forecasts"]}) { ... on AssetNode {
            partitionKeysByDimension { name partitionKeys } } } }""",
    )["assetNodeOrError"]["partitionKeysByDimension"]
    return next(found["partitionKeys"] for found in dimensions if found["name"] == "store")
