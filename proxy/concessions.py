"""What upstreams have refused before, so that they are not asked for it again and again."""

from proxy.routing import Target

MOST = 1000  # upstreams times their models; more is somebody playing with names
_NOTHING: frozenset[str] = frozenset()


class Concessions:
    """Per upstream and model, as long as the process lives."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str], frozenset[str]] = {}

    def known(self, target: Target) -> frozenset[str]:
        """What to do without."""
        return self._known.get(_key(target), _NOTHING)

    def learn(self, target: Target, name: str) -> None:
        """This upstream does not take `name`."""
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[_key(target)] = self.known(target) | {name}


concessions = Concessions()  # this process's


def _key(target: Target) -> tuple[str, str, str]:
    return target.upstream.name, target.upstream.base_url, target.model
