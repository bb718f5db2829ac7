"""The product's settings under the environment of a test run."""

from tests import environment  # noqa: F401, I001  (first: the settings read what it sets)
from opscenter.settings import *  # noqa: F403  (all of them, as they are)

# Hashing a password takes a third of a second by design; a test has no secret to protect by it.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
