"""Which language each kind of upstream speaks."""

from collections.abc import Mapping

from django.conf import settings

from proxy.adapters.anthropic import AnthropicLanguage
from proxy.adapters.brigade.language import BrigadeLanguage
from proxy.adapters.compatible import CompatibleLanguage
from proxy.adapters.language import Language
from proxy.adapters.openai.language import OpenAILanguage
from proxy.wire.signature import Signer

signer = Signer.of(settings.SECRET_KEY)

BY_KIND: Mapping[str, Language] = {
    "anthropic": AnthropicLanguage(),
    "compatible": CompatibleLanguage(),
    "openai": OpenAILanguage(signer),
    "brigade": BrigadeLanguage(signer),
    "demo": AnthropicLanguage(),
}
