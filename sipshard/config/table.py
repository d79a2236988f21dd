"""What the tables of the configuration have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo
from pydantic.types import Strict

Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]


def _below_directory(path: Path, info: ValidationInfo) -> Path:
    directory: Path = (info.context or {}).get("directory", Path())
    return directory / path


RelativePath = Annotated[Path, AfterValidator(_below_directory)]


class Table(BaseModel):
    """One table of the file: unknown keys are errors, values never change once loaded."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, arbitrary_types_allowed=True
    )

    def _culprit(self, *keys: str) -> str:
        """Of ``keys`` that contradict each other, the first that the file has."""
        return next((key for key in keys if key in self.model_fields_set), keys[0])
