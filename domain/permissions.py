"""What each access level may do, named so that the records system in front of this can ask for it.

Only ADMINISTER_PRACTICE is looked at here; the others are for the front end and the server of the records.
"""

from enum import StrEnum

from domain.models.columns import AccessLevel


class Permission(StrEnum):
    """A right in the practice's records."""

    ADMINISTER_PRACTICE = "ADMINISTER_PRACTICE"
    READ_CHARTS = "READ_CHARTS"
    WRITE_CHARTS = "WRITE_CHARTS"
    SIGN_CHARTS = "SIGN_CHARTS"
    READ_SCHEDULE = "READ_SCHEDULE"
    MANAGE_SCHEDULE = "MANAGE_SCHEDULE"
    EDIT_PATIENT_DETAILS = "EDIT_PATIENT_DETAILS"
    READ_BILLING = "READ_BILLING"
    MANAGE_BILLING = "MANAGE_BILLING"


_P = Permission

# Each level gets what its work needs and no more (HIPAA's minimum necessary, 45 CFR 164.502(b)).
PERMISSIONS: dict[AccessLevel, tuple[Permission, ...]] = {
    AccessLevel.ADMINISTRATOR: tuple(Permission),
    AccessLevel.PROVIDER: (_P.READ_CHARTS, _P.WRITE_CHARTS, _P.SIGN_CHARTS, _P.READ_SCHEDULE, _P.MANAGE_SCHEDULE),
    AccessLevel.CLINICAL_STAFF: (_P.READ_CHARTS, _P.WRITE_CHARTS, _P.READ_SCHEDULE, _P.EDIT_PATIENT_DETAILS),
    AccessLevel.FRONT_DESK: (_P.READ_SCHEDULE, _P.MANAGE_SCHEDULE, _P.EDIT_PATIENT_DETAILS),
    AccessLevel.BILLING: (_P.READ_SCHEDULE, _P.EDIT_PATIENT_DETAILS, _P.READ_BILLING, _P.MANAGE_BILLING),
    AccessLevel.READ_ONLY: (_P.READ_CHARTS, _P.READ_SCHEDULE, _P.READ_BILLING),
}


def permissions_of(access_level: AccessLevel) -> tuple[Permission, ...]:
    """What somebody at this level may do."""
    return PERMISSIONS[access_level]
