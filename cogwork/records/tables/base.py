"""What all tables belong to: their names begin with ``cogwork_``, so that they stand beside anybody's."""

from typing import Final

from sqlalchemy import MetaData

PREFIX: Final = "cogwork_"
METADATA: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
