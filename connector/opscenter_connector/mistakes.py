"""What a person can get wrong, by what the program does about it."""


class ConfigError(Exception):
    """The configuration is wrong. The text names the place and what to write instead."""


class CredentialError(Exception):
    """There is no usable key. The text says where one may come from."""


class AwayError(Exception):
    """Keycloak does not answer. The sign-in is good still, and it may be back in a moment."""
