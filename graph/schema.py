"""The schema, put together from its features; `schema.graphql` is printed from here."""

import strawberry
from strawberry.schema.config import StrawberryConfig

from graph import limits, operations
from graph.audit import AuditQuery
from graph.code_delivery import CodeDeliveryQuery
from graph.corrections import CorrectionMutation
from graph.deliveries import DeliveryMutation, DeliveryQuery
from graph.enrollment import EnrollmentMutation, EnrollmentQuery
from graph.invitations import InvitationMutation, InvitationQuery
from graph.login_settings import LoginSettingsMutation
from graph.nodes import NodeQuery
from graph.own_account import OwnAccountMutation
from graph.password_resets import PasswordResetMutation
from graph.passwords import PasswordMutation
from graph.practice_access_codes import PracticeAccessCodeMutation, PracticeAccessCodeQuery
from graph.practices import PracticeQuery
from graph.recovery_codes import RecoveryCodeMutation
from graph.refusals import HANDLERS, TYPES, top_level
from graph.renewals import RenewalMutation
from graph.scalars import SCALARS
from graph.sessions import SessionMutation
from graph.sign_in import SignInMutation
from graph.sign_up import SignUpMutation
from graph.users import UserMutation, UserQuery


@strawberry.type(description="What can be asked.")
class Query(
    PracticeQuery,
    UserQuery,
    PracticeAccessCodeQuery,
    InvitationQuery,
    EnrollmentQuery,
    CodeDeliveryQuery,
    AuditQuery,
    NodeQuery,
    DeliveryQuery,
):
    """All root fields that change nothing."""


@strawberry.type(
    description="What can be done. One root field a request. Each answers with what was asked for, or with a UserError that says why"
    " not."
)
class Mutation(
    SignUpMutation,
    InvitationMutation,
    EnrollmentMutation,
    SignInMutation,
    SessionMutation,
    UserMutation,
    LoginSettingsMutation,
    PasswordMutation,
    PasswordResetMutation,
    RenewalMutation,
    RecoveryCodeMutation,
    CorrectionMutation,
    OwnAccountMutation,
    PracticeAccessCodeMutation,
    DeliveryMutation,
):
    """All root fields that change something."""


def create_schema(*, introspection: bool) -> limits.Schema:
    """The executable schema. introspection: off in production, where clients bring `schema.graphql` with them."""
    return limits.Schema(
        query=Query,
        mutation=Mutation,
        types=TYPES,
        config=StrawberryConfig(scalar_map=SCALARS, disable_field_suggestions=not introspection),
        extensions=[*limits.extensions(introspection=introspection, translate=top_level), operations.Named],
        exception_handlers=HANDLERS,
    )


def printed() -> str:
    """The text of `schema.graphql`."""
    return create_schema(introspection=True).as_str() + "\n"
