"""How and when people may sign in, as administrators set it."""

from uuid import UUID

from tortoise import fields
from tortoise.models import Model

from domain.models.columns import PracticeAccessCodePolicy, SecurityCodePolicy, id_column
from domain.models.practices import Practice
from domain.models.users import User


class LoginSettings(Model):
    """What was set for a practice, or for one user of it. user: null for the practice's own. A null setting: as the level above.

    allowed_hours: [{"day", "from", "until"}, …]. allowed_networks: CIDR. phone_channels: names of channels.
    """

    id = id_column()
    practice: fields.ForeignKeyRelation[Practice] = fields.ForeignKeyField(
        "domain.Practice", related_name="login_settings", on_delete=fields.RESTRICT
    )
    practice_id: UUID
    user: fields.ForeignKeyNullableRelation[User] = fields.ForeignKeyField(
        "domain.User", related_name="login_settings", null=True, on_delete=fields.RESTRICT
    )
    user_id: UUID | None
    security_code = fields.CharEnumField(SecurityCodePolicy, max_length=13, null=True)
    practice_access_code = fields.CharEnumField(PracticeAccessCodePolicy, max_length=10, null=True)
    trusted_device_days = fields.SmallIntField(null=True)
    idle_timeout_minutes = fields.SmallIntField(null=True)
    session_hours = fields.SmallIntField(null=True)
    allowed_hours = fields.JSONField[list[dict[str, str]]](null=True)
    allowed_networks = fields.JSONField[list[str]](null=True)
    phone_channels = fields.JSONField[list[str]](null=True)
    voice_fallback = fields.BooleanField(null=True)
    updated_at = fields.DatetimeField()

    class Meta:
        table = "login_settings"
