"""How every client of the broker proves who it is: TLS and SASL.

The settings come from the environment, ./.env.local or ./.env. The defaults are a broker without
either. The embedded broker asks for a generated password.
"""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from streaming_job.errors import SettingsError
from streaming_job.settings import DOTENV_FILES

PLAIN: Final = "PLAIN"
#: Java's class for each mechanism.
LOGIN_MODULES = {
    PLAIN: "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
}


class BrokerAccess(BaseSettings):
    """The broker's security settings; `KAFKA_` and a field's name is its environment variable."""

    model_config = SettingsConfigDict(
        env_prefix="KAFKA_",
        env_file=DOTENV_FILES,
        extra="ignore",
        env_ignore_empty=True,
        frozen=True,
        hide_input_in_errors=True,
    )

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_ca_file: Path | None = Field(
        default=None, description="PEM file of the broker's authority; empty: the system's own"
    )

    @model_validator(mode="after")
    def _has_credentials(self) -> Self:
        if self.has_sasl and not (self.sasl_username and self.sasl_password):
            raise ValueError(
                f"KAFKA_SECURITY_PROTOCOL={self.security_protocol} needs KAFKA_SASL_USERNAME and "
                "KAFKA_SASL_PASSWORD"
            )
        return self

    @property
    def has_sasl(self) -> bool:
        """Whether the broker asks for a user's password."""
        return self.security_protocol.startswith("SASL")

    @property
    def has_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.security_protocol.endswith("SSL")

    @property
    def _password(self) -> str:
        return self.sasl_password.get_secret_value() if self.sasl_password else ""

    def environment(self) -> dict[str, str]:
        """Return the environment variables that say the same to another process."""
        values: dict[str, str] = {"KAFKA_SECURITY_PROTOCOL": self.security_protocol}
        if self.has_sasl:
            values["KAFKA_SASL_MECHANISM"] = self.sasl_mechanism
            values["KAFKA_SASL_USERNAME"] = self.sasl_username or ""
            values["KAFKA_SASL_PASSWORD"] = self._password
        if self.ssl_ca_file is not None:
            values["KAFKA_SSL_CA_FILE"] = str(self.ssl_ca_file)
        return values

    def client_options(self) -> dict[str, str]:
        """Return the options of kafka-python's clients: they contain the password."""
        options: dict[str, str] = {"security_protocol": self.security_protocol}
        if self.has_sasl:
            options["sasl_mechanism"] = self.sasl_mechanism
            options["sasl_plain_username"] = self.sasl_username or ""
            options["sasl_plain_password"] = self._password
            # Otherwise it warns at each connection that the protocol in the settings is not TLS.
            logging.getLogger("kafka.net.sasl.plain").setLevel(logging.ERROR)
        if self.has_tls and self.ssl_ca_file is not None:
            options["ssl_cafile"] = str(self.ssl_ca_file)
        return options

    def tls_context(self) -> ssl.SSLContext | None:
        """Return how a connection is encrypted, as kafka-python does it; None if it is not.

        Raises:
            SettingsError: The authority's file is missing or holds no certificate in PEM.
        """
        if not self.has_tls:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.ssl_ca_file is None:
            context.load_default_certs()
            return context
        try:
            context.load_verify_locations(self.ssl_ca_file)
        except ssl.SSLError as error:
            raise SettingsError(
                f"KAFKA_SSL_CA_FILE={self.ssl_ca_file} is no PEM file of certificates "
                f"({error.reason or error}): it must contain -----BEGIN CERTIFICATE-----; "
                "`openssl x509 -inform der -in FILE -out FILE.pem` converts a DER file"
            ) from error
        except OSError as error:
            raise SettingsError(
                f"KAFKA_SSL_CA_FILE={self.ssl_ca_file} cannot be read ({error.strerror}): set it "
                "to the PEM file of the broker's authority"
            ) from error
        return context

    def java_options(self, prefix: str = "") -> dict[str, str]:
        """Return the options of Java's clients: they contain the password.

        Args:
            prefix: Put before each name, as in `kafka.` for Spark's source. Spark and Kafka redact
                the value of `sasl.jaas.config` in their logs.
        """
        options: dict[str, str] = {"security.protocol": self.security_protocol}
        if self.has_sasl:
            options["sasl.mechanism"] = self.sasl_mechanism
            options["sasl.jaas.config"] = login(
                self.sasl_mechanism, username=self.sasl_username or "", password=self._password
            )
        # Java has authorities of its own, and "the system's" must mean the same to every client.
        authorities = self.ssl_ca_file or ssl.get_default_verify_paths().cafile
        if self.has_tls and authorities is not None:
            options["ssl.truststore.type"] = "PEM"
            options["ssl.truststore.location"] = str(authorities)
        return {f"{prefix}{name}": value for name, value in options.items()}


def login(mechanism: str, **options: str) -> str:
    """Return a login in the syntax of `sasl.jaas.config`."""
    quoted = [
        name + '="' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        for name, value in options.items()
    ]
    return f"{LOGIN_MODULES[mechanism]} required {' '.join(quoted)};"


def broker_access() -> BrokerAccess:
    """Read the settings.

    Raises:
        SettingsError: A setting is wrong, or one is missing beside another.
    """
    try:
        return BrokerAccess()
    except ValidationError as error:
        faults = "; ".join(
            " ".join(
                [*(f"KAFKA_{str(part).upper()}:" for part in fault["loc"]),
                 fault["msg"].removeprefix("Value error, ")]
            )
            for fault in error.errors(include_input=False)
        )  # fmt: skip
        raise SettingsError(f"{faults} (see .env.example)") from None
