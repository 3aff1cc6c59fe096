"""No column gets the time of the process any more where nobody says which moment to write. The tables stay as they are."""

from tortoise import fields, migrations
from tortoise.migrations.operations import TortoiseOperation
from tortoise.migrations.schema_generator.state import State

MOMENTS = {
    "AuditEvent": ("occurred_at",),
    "BouncedAddress": ("bounced_at",),
    "Challenge": ("created_at",),
    "Delivery": ("queued_at", "due_at"),
    "DeliveryAttempt": ("started_at",),
    "Device": ("created_at",),
    "EmailChange": ("created_at",),
    "Enrollment": ("created_at",),
    "FeedbackEvent": ("received_at",),
    "GuessCounter": ("updated_at",),
    "Invitation": ("created_at", "last_send_at"),
    "LoginSettings": ("updated_at",),
    "PasswordReset": ("created_at",),
    "Practice": ("created_at",),
    "PracticeAccessCode": ("issued_at",),
    "PracticeNotice": ("queued_at",),
    "SecurityCode": ("created_at",),
    "Session": ("created_at", "last_used_at"),
    "SignUp": ("created_at",),
    "Subscription": ("updated_at",),
    "SubscriptionEvent": ("received_at",),
    "User": ("created_at",),
}


class NameMoments(TortoiseOperation):
    """What an AlterField for each of them would do. Each of those would copy the models of the whole program."""

    def describe(self) -> str:
        """In a list of operations."""
        return "Let every moment be named"

    def state_forward(self, app_label: str, state: State) -> None:
        """Change the models; there is nothing to change in the tables."""
        for model, names in MOMENTS.items():
            for name in names:
                self.get_model_state(state, app_label, model).fields[name] = fields.DatetimeField()
        state.reload_models((app_label, model) for model in MOMENTS)


class Migration(migrations.Migration):
    dependencies = [("domain", "0025_server_keys")]

    operations = [NameMoments()]
