"""What goes out and what is remembered: deliveries, their attempts, and the audit trail."""

from uuid import UUID

from tortoise import fields
from tortoise.models import Model

from domain.models.columns import KEY_ID_LENGTH, Channel, DeliveryStatus, id_column


class Delivery(Model):
    """One message to one address by one channel: the promise to send it, without its content.

    kind: which template. subject_id: the row it is about (a sign-up, an invitation, a security code, an access code's issue).
    user_id: who it is for, where that is a user. lane: 0 codes, 1 urgent mail, 2 bulk. due_at: when a worker may next take it;
    while one has it, the end of that worker's lease. lease_owner: the claim that may settle it. expires_at: not sent after that.
    recipient: where it went, known once it was sent. notice: which one it is, for notices. reported_status, reported_problem: what the
    carrier told later. carrier: which one was asked last. unanswered: tries whose end nobody knows. request_id: of the request or job
    that queued it; traceparent: the trace that goes on with sending it. redelivery_of: the dead one that it was sent in place of;
    occurred_at: when that one was first queued. fault: whose it is that it did not arrive, or not yet (`domain.delivery_faults.Fault`).
    unreadable_return_at: when something came back that could not be read, for the first time. awaited_key_id: the server key that the
    worker lacked that looked at it last; it waits for one that has it.
    """

    id = id_column()
    practice_id = fields.UUIDField(null=True)
    user_id = fields.UUIDField(null=True)
    subject_id = fields.UUIDField()
    kind = fields.CharField(max_length=40)
    channel = fields.CharEnumField(Channel, max_length=5)
    lane = fields.SmallIntField()
    status = fields.CharEnumField(DeliveryStatus, max_length=9, default=DeliveryStatus.QUEUED)
    attempts = fields.SmallIntField(default=0)
    queued_at = fields.DatetimeField()
    due_at = fields.DatetimeField()
    expires_at = fields.DatetimeField()
    lease_owner = fields.UUIDField(null=True)
    sent_at = fields.DatetimeField(null=True)
    recipient = fields.CharField(max_length=254, null=True)
    provider_id = fields.CharField(max_length=100, null=True)
    problem = fields.CharField(max_length=300, null=True)
    notice = fields.CharField(max_length=40, null=True)
    reported_status = fields.CharField(max_length=9, null=True)
    reported_problem = fields.CharField(max_length=300, null=True)
    carrier = fields.CharField(max_length=6, null=True)
    unanswered = fields.SmallIntField(default=0, db_default=0)
    request_id = fields.CharField(max_length=64, null=True)
    traceparent = fields.CharField(max_length=55, null=True)
    redelivery_of = fields.UUIDField(null=True)
    occurred_at = fields.DatetimeField(null=True)
    fault = fields.CharField(max_length=9, null=True)
    unreadable_return_at = fields.DatetimeField(null=True)
    awaited_key_id = fields.CharField(max_length=KEY_ID_LENGTH, null=True)

    class Meta:
        table = "deliveries"


class DeliveryAttempt(Model):
    """One try at one delivery. outcome: null while under way, or when the worker died."""

    id = id_column()
    delivery: fields.ForeignKeyRelation[Delivery] = fields.ForeignKeyField(
        "domain.Delivery", related_name="attempt_rows", on_delete=fields.CASCADE
    )
    delivery_id: UUID
    number = fields.SmallIntField()
    lease_owner = fields.UUIDField()
    started_at = fields.DatetimeField()
    finished_at = fields.DatetimeField(null=True)
    outcome = fields.CharField(max_length=9, null=True)
    detail = fields.CharField(max_length=300, null=True)

    class Meta:
        table = "delivery_attempts"


class AuditEvent(Model):
    """What happened: who did what to whom in which practice, when, from where, and what came of it (`audit.py`)."""

    id = id_column()
    practice_id = fields.UUIDField(null=True)
    occurred_at = fields.DatetimeField()
    action = fields.CharField(max_length=60)
    actor_user_id = fields.UUIDField(null=True)
    actor_name = fields.CharField(max_length=130)
    subject_user_id = fields.UUIDField(null=True)
    subject_name = fields.CharField(max_length=130, null=True)
    session_id = fields.UUIDField(null=True)
    device_id = fields.UUIDField(null=True)
    ip_address = fields.CharField(max_length=45, null=True)
    details = fields.JSONField[dict[str, object]](default=dict)

    class Meta:
        table = "audit_events"
