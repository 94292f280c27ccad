"""The authentication requests that the pooler knows, by the number that an 'R' message starts with."""

from enum import IntEnum


class AuthCode(IntEnum):
    """Names as in the protocol chapter "Message Formats", without "Authentication"."""

    OK = 0
    CLEARTEXT_PASSWORD = 3
    MD5_PASSWORD = 5
    SASL = 10
    SASL_CONTINUE = 11
    SASL_FINAL = 12


MD5_SALT_LENGTH = 4
"""Bytes of salt in AuthenticationMD5Password."""
