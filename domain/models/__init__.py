"""The tables. What the ORM's migrations cannot say (partial indexes, CHECKs) stands in `migrations/0002_guards.py`."""

from domain.models.access import Budget, Challenge, CodeStop, Device, GuessCounter, Session
from domain.models.channels import ChannelPause, ChannelRefusal
from domain.models.factors import AccountChange, EmailChange, PasswordReset, RecoveryCode
from domain.models.feedback import BouncedAddress, FeedbackEvent
from domain.models.joining import Enrollment, Invitation, SecurityCode, SignUp
from domain.models.keys import ServerKey
from domain.models.login_settings import LoginSettings
from domain.models.practices import Practice, PracticeAccessCode, PracticeNotice, Subscription, SubscriptionEvent
from domain.models.records import AuditEvent, Delivery, DeliveryAttempt
from domain.models.users import User

__all__ = [
    "AccountChange",
    "AuditEvent",
    "BouncedAddress",
    "Budget",
    "Challenge",
    "ChannelPause",
    "ChannelRefusal",
    "CodeStop",
    "Delivery",
    "DeliveryAttempt",
    "Device",
    "EmailChange",
    "Enrollment",
    "FeedbackEvent",
    "GuessCounter",
    "Invitation",
    "LoginSettings",
    "PasswordReset",
    "Practice",
    "PracticeAccessCode",
    "PracticeNotice",
    "RecoveryCode",
    "SecurityCode",
    "ServerKey",
    "Session",
    "SignUp",
    "Subscription",
    "SubscriptionEvent",
    "User",
]
