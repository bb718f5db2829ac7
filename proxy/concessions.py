"""What upstreams have refused before, so that they are not asked for it again and again.

Each organization learns by itself: what one of them makes an upstream refuse takes nothing from the
others.
"""

from uuid import UUID

from proxy.routing import Target

MOST = 10_000  # organizations times upstreams times models; more is somebody playing with names
LASTS_S = 3600.0  # an upstream may be another one after an update
_Key = tuple[UUID, str, str, str]


class Concessions:
    """Per organization, upstream and model, for an hour. `now` is seconds of a steady clock."""

    def __init__(self) -> None:
        self._known: dict[_Key, dict[str, float]] = {}  # and when each was learnt

    def known(self, organization_id: UUID, target: Target, now: float) -> frozenset[str]:
        """What to do without."""
        found = self._known.get(_key(organization_id, target), {})
        return frozenset(name for name, at in found.items() if now - at < LASTS_S)

    def learn(self, organization_id: UUID, target: Target, name: str, now: float) -> None:
        """This upstream does not take `name`."""
        if len(self._known) >= MOST:
            self._known.clear()
        self._known.setdefault(_key(organization_id, target), {})[name] = now


concessions = Concessions()  # this process's


def _key(organization_id: UUID, target: Target) -> _Key:
    return organization_id, target.upstream.name, target.upstream.base_url, target.model
