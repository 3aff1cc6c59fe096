"""On the way to an account: sign-ups, invitations, enrollments and the codes that go to a phone."""

from uuid import UUID

from tortoise import fields
from tortoise.models import Model

from domain.models.columns import (
    MAX_E164_LENGTH,
    MAX_EMAIL_LENGTH,
    MAX_NAME_LENGTH,
    Crowd,
    EnrollmentStep,
    InvitationEnd,
    InvitationState,
    PhoneChannel,
    id_column,
    key_id_column,
    new_nonce,
)
from domain.models.practices import Practice
from domain.models.users import User


class SignUp(Model):
    """What somebody typed who wants to sign a practice up. The practice comes to be when the password is set."""

    id = id_column()
    first_name = fields.CharField(max_length=MAX_NAME_LENGTH)
    last_name = fields.CharField(max_length=MAX_NAME_LENGTH)
    email = fields.CharField(max_length=MAX_EMAIL_LENGTH)
    email_canonical = fields.CharField(max_length=MAX_EMAIL_LENGTH)
    phone = fields.CharField(max_length=MAX_E164_LENGTH)
    practice_name = fields.CharField(max_length=120)
    specialty = fields.CharField(max_length=80)
    time_zone = fields.CharField(max_length=64)
    nonce = fields.BinaryField(default=new_nonce)
    key_id = key_id_column()
    expires_at = fields.DatetimeField()
    completed_at = fields.DatetimeField(null=True)
    created_at = fields.DatetimeField()

    class Meta:
        table = "sign_ups"


class Invitation(Model):
    """A place in a practice, offered to a person. A resend replaces the nonce, and with it the link.

    sends: e-mails asked for so far. last_send_at: the latest of them, for the cool-down. delivery_id: the latest of them.
    reminder_id: the delivery that reminds of the present link. summarized_at: when administrators were told that it is about to end,
    or that it has ended. end_reason: why it is REVOKED; null where an administrator took it back.
    """

    id = id_column()
    practice: fields.ForeignKeyRelation[Practice] = fields.ForeignKeyField(
        "domain.Practice", related_name="invitations", on_delete=fields.RESTRICT
    )
    practice_id: UUID
    user: fields.OneToOneRelation[User] = fields.OneToOneField(
        "domain.User", related_name="invitation", on_delete=fields.RESTRICT
    )
    user_id: UUID
    invited_by: fields.ForeignKeyRelation[User] = fields.ForeignKeyField(
        "domain.User", related_name="invitations_made", on_delete=fields.RESTRICT
    )
    invited_by_id: UUID
    state = fields.CharEnumField(InvitationState, max_length=8)
    nonce = fields.BinaryField(default=new_nonce)
    key_id = key_id_column()
    delivery_id = fields.UUIDField()
    sends = fields.IntField(default=1)
    last_send_at = fields.DatetimeField()
    expires_at = fields.DatetimeField()
    accepted_at = fields.DatetimeField(null=True)
    end_reason = fields.CharEnumField(InvitationEnd, max_length=20, null=True)
    revoked_at = fields.DatetimeField(null=True)
    reminder_id = fields.UUIDField(null=True)
    summarized_at = fields.DatetimeField(null=True)
    created_at = fields.DatetimeField()

    class Meta:
        table = "invitations"


class Enrollment(Model):
    """Somebody setting up an account step by step, by way of an invitation or of a sign-up. Its token is derived.

    user_id: whose account it ended with; null before that.
    """

    id = id_column()
    invitation: fields.ForeignKeyNullableRelation[Invitation] = fields.ForeignKeyField(
        "domain.Invitation", related_name="enrollments", null=True, on_delete=fields.RESTRICT
    )
    invitation_id: UUID | None
    sign_up: fields.ForeignKeyNullableRelation[SignUp] = fields.ForeignKeyField(
        "domain.SignUp", related_name="enrollments", null=True, on_delete=fields.RESTRICT
    )
    sign_up_id: UUID | None
    user_id = fields.UUIDField(null=True)
    next_step = fields.CharEnumField(EnrollmentStep, max_length=16, default=EnrollmentStep.SEND_PHONE_CODE)
    phone = fields.CharField(max_length=MAX_E164_LENGTH, null=True)
    phone_verified_at = fields.DatetimeField(null=True)
    nonce = fields.BinaryField(default=new_nonce)
    key_id = key_id_column()
    expires_at = fields.DatetimeField()
    ended_at = fields.DatetimeField(null=True)
    created_at = fields.DatetimeField()

    class Meta:
        table = "enrollments"


class SecurityCode(Model):
    """Digits on their way to a phone, derived and never stored, good for one enrollment or one challenge only.

    superseded_at: a later code of the same flow took its place. fallback_at: it was settled whether a call follows a text that did
    not arrive. practice_id, crowd: whom the money guard counts it with; without a crowd, with nobody.
    """

    id = id_column()
    enrollment: fields.ForeignKeyNullableRelation[Enrollment] = fields.ForeignKeyField(
        "domain.Enrollment", related_name="codes", null=True, on_delete=fields.RESTRICT
    )
    enrollment_id: UUID | None
    challenge_id = fields.UUIDField(null=True)
    phone = fields.CharField(max_length=MAX_E164_LENGTH)
    channel = fields.CharEnumField(PhoneChannel, max_length=5)
    nonce = fields.BinaryField(default=new_nonce)
    key_id = key_id_column()
    practice_id = fields.UUIDField(null=True)
    crowd = fields.CharEnumField(Crowd, max_length=9, null=True)
    attempts = fields.SmallIntField(default=0)
    expires_at = fields.DatetimeField()
    consumed_at = fields.DatetimeField(null=True)
    superseded_at = fields.DatetimeField(null=True)
    fallback_at = fields.DatetimeField(null=True)
    created_at = fields.DatetimeField()

    class Meta:
        table = "security_codes"
