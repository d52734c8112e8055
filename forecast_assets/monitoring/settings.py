"""The settings of the exporter: those of the health rules, and the way into Dagster's database."""

from pydantic import Field, SecretStr, ValidationError, field_validator

from forecast_assets.settings import Settings, SettingsError, explain
from warehouse.environment import refuse_other_addresses


class ExporterSettings(Settings):
    """The asset graph's settings, so that both judge alike, and one address more."""

    dagster_reader_url: SecretStr | None = Field(
        None,
        alias="DAGSTER_READER_DATABASE_URL",
        description="The address of Dagster's database, with the role dagster_reader.",
    )

    @field_validator("dagster_reader_url")
    @classmethod
    def _is_an_address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            refuse_other_addresses(value.get_secret_value())
        return value

    def addresses(self) -> tuple[str, str]:
        """Return the addresses of the sales database and of Dagster's.

        Raises:
            SettingsError: One is not set.
        """
        missing = [
            name
            for name, value in (
                ("READER_DATABASE_URL", self.reader_database_url),
                ("DAGSTER_READER_DATABASE_URL", self.dagster_reader_url),
            )
            if value is None
        ]
        if self.reader_database_url is None or self.dagster_reader_url is None:
            raise SettingsError(
                f"{' and '.join(missing)} not set: `make up` starts the exporter with both; by "
                "hand, set them to the addresses with the roles sales_reader and dagster_reader"
            )
        return (
            self.reader_database_url.get_secret_value(),
            self.dagster_reader_url.get_secret_value(),
        )


def load_settings() -> ExporterSettings:
    """Read the settings.

    Raises:
        SettingsError: A setting is missing or invalid; the message names it.
    """
    try:
        return ExporterSettings()  # type: ignore[call-arg]  # the fields come from the environment
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise explain(error) from None  # The cause would quote the values, passwords included.
