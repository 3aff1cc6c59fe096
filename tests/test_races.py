"""Acts that meet: whichever comes first, each is answered as data, and none waits for the other until the database breaks one off."""

import asyncio
import itertools

import pytest

from tests.refusals.scene import document
from tests.world import PASSWORD, Api, Json, Person, World

# What one administrator does to another, each at the same moment.
ON_EACH_OTHER: dict[str, Json] = {
    "deactivate": {},
    "reactivate": {},
    "changeAccessLevel": {"accessLevel": "BILLING"},
    "updateLoginSettings": {"sessionHours": 8},
    "resetPhone": {},
    "sendPasswordReset": {},
}
# What somebody does in their own account while an administrator does something to them.
OF_ONES_OWN: dict[str, Json] = {
    "changeName": {"firstName": "Ann", "lastName": "Other"},
    "changePassword": {"currentPassword": PASSWORD, "newPassword": "seven green kites over the bay"},
    "renewSignIn": {"password": PASSWORD},
    "changeEmail": {"email": "ann@new.example"},
    "changePhone": {"password": PASSWORD, "phone": "+12025550191"},
}


async def at_once(api: Api, *acts: tuple[str, Json, Person]) -> None:
    """Do these at the same moment; none may end in a fault."""
    answers = await asyncio.gather(
        *(api.post(document(mutation), {"input": values}, token=person.session) for mutation, values, person in acts)
    )
    for (mutation, _, _), answer in zip(acts, answers, strict=True):
        codes = {error["extensions"]["code"] for error in answer.get("errors", ())}
        assert codes <= {"UNAUTHENTICATED", "FORBIDDEN"}, (mutation, answer)


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations_with_replacement(ON_EACH_OTHER, 2)))
async def test_two_administrators_act_on_each_other(world: World, api: Api, one: str, other: str) -> None:
    practice = await world.practice()
    for number in range(2):
        ann = await world.joined(practice, f"ann{number}@clinic.example", "ADMINISTRATOR")
        bob = await world.joined(practice, f"bob{number}@clinic.example", "ADMINISTRATOR")
        await at_once(
            api,
            (one, {"userId": bob.id} | ON_EACH_OTHER[one], ann),
            (other, {"userId": ann.id} | ON_EACH_OTHER[other], bob),
            (one, {"userId": bob.id} | ON_EACH_OTHER[one], practice.administrator),
        )


@pytest.mark.parametrize("own", OF_ONES_OWN)
async def test_somebody_is_acted_on_while_they_change_their_own_account(world: World, api: Api, own: str) -> None:
    practice = await world.practice()
    for number, act in enumerate(ON_EACH_OTHER):
        ann = await world.joined(practice, f"ann{number}@clinic.example", "ADMINISTRATOR")
        values = {"userId": ann.id} | ON_EACH_OTHER[act]
        await at_once(
            api, (own, OF_ONES_OWN[own], ann), (act, values, practice.administrator), (own, OF_ONES_OWN[own], ann)
        )


async def test_an_invitation_is_sent_again_taken_back_and_changed_at_once(world: World, api: Api) -> None:
    practice = await world.practice()
    acts: list[tuple[str, Json]] = [
        ("resend", {}),
        ("revokeInvitation", {}),
        ("deactivate", {}),
        ("changeAccessLevel", {"accessLevel": "BILLING"}),
        ("reactivate", {}),
    ]
    for number, pair in enumerate(itertools.combinations(acts, 2)):
        user_id = await world.invite(practice, f"new{number}@clinic.example")
        code = {"token": await world.link(f"new{number}@clinic.example")}
        accept = ("acceptInvitation", code | {"practiceAccessCode": practice.practice_access_code})
        nobody = Person("", "", "", "none", None)
        await at_once(
            api,
            *((mutation, {"userId": user_id} | values, practice.administrator) for mutation, values in pair),
            (*accept, nobody),
        )
