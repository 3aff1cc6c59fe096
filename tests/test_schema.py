"""The schema as clients see it: written down, described, and without a way to write what is not theirs to write."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    build_schema,
    get_named_type,
    is_introspection_type,
    is_specified_scalar_type,
)

from graph import errors, refusals, schema

WRITTEN_DOWN = Path(__file__).parent.parent / "schema.graphql"

# All that a client may write. A field that is not here needs a thought before it is: may whoever calls this decide it?
INPUTS = {
    "AcceptInvitationInput": "token practiceAccessCode",
    "DeactivateInput": "userId reason releaseAddress",
    "DeclineInvitationInput": "token unknownPractice",
    "ChangePasswordInput": "currentPassword newPassword",
    "ReactivateInput": "userId",
    "ChangeAccessLevelInput": "userId accessLevel",
    "EndSessionInput": "sessionId",
    "ForgetDeviceInput": "deviceId",
    "InviteInput": "users",
    "InviteeInput": "firstName lastName email accessLevel addressRepaired",
    "ReleaseAddressInput": "userId",
    "ResendInput": "userId email addressRepaired",
    "ResendInvitationsInput": "userIds",
    "RedeliverInput": "deliveryId",
    "RevokeInvitationInput": "userId",
    "SendPhoneCodeInput": "enrollmentToken phone channel",
    "SendSecurityCodeInput": "challengeToken channel phone",
    "RequestPasswordResetInput": "email deviceToken",
    "StartPasswordResetInput": "token",
    "ResetPasswordInput": "challengeToken code newPassword deviceName practiceAccessCode",
    "SendPasswordResetInput": "userId",
    "RenewSignInInput": "password",
    "ConfirmSignInInput": "challengeToken code",
    "ChangeNameInput": "firstName lastName",
    "ChangeEmailInput": "email addressRepaired",
    "VerifyEmailChangeInput": "challengeToken code",
    "ConfirmEmailInput": "token",
    "CorrectUserNameInput": "userId firstName lastName",
    "CorrectUserEmailInput": "userId email addressRepaired",
    "StopAccountChangeInput": "token",
    "ChangePhoneInput": "password phone",
    "ConfirmPhoneInput": "challengeToken code",
    "ResetPhoneInput": "userId",
    "SetPasswordInput": "enrollmentToken password deviceName trustDevice",
    "SignInInput": "email password deviceToken deviceName",
    "SignUpInput": "firstName lastName email phone practiceName specialty timeZone",
    "UpdateLoginSettingsInput": "userId securityCode practiceAccessCode trustedDeviceDays idleTimeoutMinutes sessionHours"
    " allowedHours allowedNetworks phoneChannels voiceFallback",
    "AllowedHoursInput": "day from until",
    "RotatePracticeAccessCodeInput": "endPrevious",
    "UpdatePracticeAccessCodeSettingsInput": "rotationDays graceHours rotateOnDeparture",
    "VerifyDeviceInput": "challengeToken code practiceAccessCode deviceName trustDevice",
    "VerifyEmailInput": "token",
    "VerifyPhoneInput": "enrollmentToken code",
}
FILTERS = {
    "UserFilter": "status accessLevel search isDormant",
    "AuditFilter": "actions userId since until",
    "DeliveryFilter": "status kind channel userId since until",
}  # narrow down what is read, and write nothing
# Who sets an access level does so by inviting, which is for administrators.
MAY_SET_AN_ACCESS_LEVEL = {"InviteeInput", "ChangeAccessLevelInput"}
NEVER_WRITTEN = (
    "practiceId",
    "status",
    "role",
    "verified",
    "verifiedAt",
    "phoneVerified",
    "isActive",
    "plan",
    "createdAt",
)

WITHOUT_INPUT = {"signOut", "renewRecoveryCodes"}
WITH_OR_WITHOUT_INPUT = {"rotatePracticeAccessCode"}
NO_RESULT_UNION = {"signOut": "Boolean"}


@pytest.fixture(scope="module")
def built() -> GraphQLSchema:
    return build_schema(schema.printed())


def types(built: GraphQLSchema) -> Iterator[GraphQLNamedType]:
    """The project's own types."""
    for kind in built.type_map.values():
        if not is_introspection_type(kind) and not is_specified_scalar_type(kind):
            yield kind


def test_the_schema_is_the_one_that_is_written_down() -> None:
    assert WRITTEN_DOWN.read_text(encoding="utf-8") == schema.printed(), "print it anew: practice-access schema"


def test_production_has_the_same_schema() -> None:
    assert schema.create_schema(introspection=False).as_str() + "\n" == schema.printed()


def test_everything_is_described(built: GraphQLSchema) -> None:
    assert list(undescribed(built)) == []
    assert list(undescribed(build_schema("enum E { A } input I { a: Int } type Query { e(i: I): E }"))) == [
        "E",
        "E.A",
        "I",
        "I.a",
        "Query",
        "Query.e",
        "Query.e(i)",
    ]


def undescribed(built: GraphQLSchema) -> Iterator[str]:
    """Whatever says nothing about itself."""
    for kind in types(built):
        if not kind.description:
            yield kind.name
        if isinstance(kind, GraphQLEnumType):
            yield from (f"{kind.name}.{name}" for name, value in kind.values.items() if not value.description)
        elif isinstance(kind, GraphQLInputObjectType):
            yield from (f"{kind.name}.{name}" for name, field in kind.fields.items() if not field.description)
        elif isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
            for name, field in kind.fields.items():
                if not field.description:
                    yield f"{kind.name}.{name}"
                yield from (f"{kind.name}.{name}({arg})" for arg, value in field.args.items() if not value.description)


def test_every_refusal_is_a_user_error(built: GraphQLSchema) -> None:
    found = {kind.__name__ for kind in refusals.TYPES if kind is not errors.UserError}
    assert len(found) > 20
    for name in found:
        kind = built.type_map[name]
        assert isinstance(kind, GraphQLObjectType)
        assert [one.name for one in kind.interfaces] == ["UserError"], name
    implementing = {kind.name for kind in built.get_possible_types(user_error(built))}
    assert implementing == found


def user_error(built: GraphQLSchema) -> GraphQLInterfaceType:
    found = built.type_map["UserError"]
    assert isinstance(found, GraphQLInterfaceType)
    return found


def mutations(built: GraphQLSchema) -> GraphQLObjectType:
    assert built.mutation_type is not None
    return built.mutation_type


def test_a_mutation_answers_with_one_result_or_with_a_user_error(built: GraphQLSchema) -> None:
    for name, field in mutations(built).fields.items():
        answer = get_named_type(field.type)
        assert isinstance(field.type, GraphQLNonNull), name
        if name in NO_RESULT_UNION:
            assert answer.name == NO_RESULT_UNION[name]
            continue
        assert isinstance(answer, GraphQLUnionType), name
        results = [kind.name for kind in answer.types if user_error(built) not in kind.interfaces]
        assert answer.name == f"{name[0].upper()}{name[1:]}Result"
        assert len(results) in (1, 2), (name, results)
        assert len(results) < len(answer.types), name


def test_a_mutation_takes_one_input_or_nothing(built: GraphQLSchema) -> None:
    for name, field in mutations(built).fields.items():
        if name in WITHOUT_INPUT:
            assert field.args == {}
            continue
        assert list(field.args) == ["input"], name
        kind = field.args["input"].type
        assert isinstance(kind, GraphQLNonNull) == (name not in WITH_OR_WITHOUT_INPUT), name
        kind = get_named_type(kind)
        assert isinstance(kind, GraphQLInputObjectType), name
        assert kind.name == f"{name[0].upper()}{name[1:]}Input"


def test_a_client_can_write_what_is_on_the_list_and_nothing_else(built: GraphQLSchema) -> None:
    found = {kind.name: " ".join(kind.fields) for kind in types(built) if isinstance(kind, GraphQLInputObjectType)}
    assert found == INPUTS | FILTERS


@pytest.mark.parametrize("name", INPUTS)
def test_no_input_decides_whose_practice_it_is_or_what_somebody_may_do(built: GraphQLSchema, name: str) -> None:
    kind = built.type_map[name]
    assert isinstance(kind, GraphQLInputObjectType)
    assert not set(kind.fields) & set(NEVER_WRITTEN)
    assert ("accessLevel" in kind.fields) == (name in MAY_SET_AN_ACCESS_LEVEL)


def test_no_query_asks_for_a_practice_by_name_or_id(built: GraphQLSchema) -> None:
    assert built.query_type is not None
    arguments = {f"{name}({arg})" for name, field in built.query_type.fields.items() for arg in field.args}
    assert not {argument for argument in arguments if "practice" in argument.lower().partition("(")[2]}
    assert built.query_type.fields["practice"].args == {}
