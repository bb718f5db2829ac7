"""The signatures of thinking that no model provider has signed: ours, and known again as ours."""

import hashlib
import hmac
from base64 import b64encode
from typing import Self

# Nine bytes are twelve characters of base64, so every signature of ours begins with the same text.
MARK = b64encode(b"OpsCenter").decode()


class Signer:
    """Signs thinking with a secret of the gateway's, and tells such thinking from altered."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def of(cls, secret: str) -> Self:
        """A signer whose key is derived from `secret`, so that the secret itself signs nothing."""
        return cls(hmac.digest(secret.encode(), b"thinking", "sha256"))

    def sign(self, thinking: str) -> str:
        """The signature of `thinking`: base64, as clients and other servers expect one to look."""
        signing = self.signing()
        signing.update(thinking)
        return signing.signature()

    def signing(self) -> "Signing":
        """Begin to sign thinking that comes piece by piece."""
        return Signing(self._key)

    def signed(self, thinking: str, signature: str) -> bool:
        """Whether this very thinking was signed here."""
        return hmac.compare_digest(self.sign(thinking).encode(), signature.encode(errors="replace"))


class Signing:
    """The signature of thinking that is still under way. None of the thinking is kept."""

    __slots__ = ("_mac",)

    def __init__(self, key: bytes) -> None:
        self._mac = hmac.new(key, digestmod=hashlib.sha256)

    def update(self, piece: str) -> None:
        """Some more of the thinking."""
        self._mac.update(piece.encode(errors="surrogatepass"))

    def signature(self) -> str:
        """The signature of all pieces so far."""
        return b64encode(b"OpsCenter" + self._mac.digest()).decode()


def is_local(signature: object) -> bool:
    """Whether a signature is one of ours, which no other server accepts."""
    return isinstance(signature, str) and signature.startswith(MARK)
