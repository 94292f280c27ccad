"""SCRAM-SHA-256-PLUS: a login that is bound to the TLS connection it is made on (RFC 5802, RFC 5929)."""

import pytest

from pooler.auth.client_login import LoginError, begin
from pooler.auth.scram import ScramError, ScramServer
from pooler.config.settings import AuthType
from tests.unit.auth.peers import SCRAM_FOO, SEED, LibpqClient, fixed_token, initial_response, payload_of

PLUS = b"SCRAM-SHA-256-PLUS"
GS2 = b"p=tls-server-end-point,,"
OURS = b"hash of our certificate"
ANOTHERS = b"hash of another's"


def server(binding: bytes = OURS) -> ScramServer:
    return ScramServer(SCRAM_FOO, SEED, "u", 4096, token=fixed_token, binding=binding)


def client(binding: bytes, gs2: bytes = GS2) -> LibpqClient:
    return LibpqClient(b"foo", gs2, binding=binding)


def test_client_on_the_same_connection_logs_in() -> None:
    side, peer = server(), client(OURS)
    assert side.final(peer.final(side.first(peer.first(), plus=True))) == peer.expected_final


def test_client_on_another_connection_is_refused() -> None:
    """Somebody between us shows a certificate of his own."""
    side, peer = server(), client(ANOTHERS)
    challenge = side.first(peer.first(), plus=True)
    with pytest.raises(ScramError, match="channel-binding attribute"):
        side.final(peer.final(challenge))


def test_client_that_could_bind_but_was_not_offered_it_is_refused() -> None:
    with pytest.raises(ScramError, match="thinks that the pooler does not"):
        server().first(b"y,,n=,r=abcdefghijklmnopqrstuvwx")


def test_client_that_cannot_bind_logs_in() -> None:
    side, peer = server(), LibpqClient(b"foo")
    assert side.final(peer.final(side.first(peer.first()))) == peer.expected_final


@pytest.mark.parametrize(
    ("gs2", "plus", "reason"),
    [
        (b"n,,", True, "sent no channel-binding data"),
        (b"y,,", True, "sent no channel-binding data"),
        (GS2, False, "it is not supported"),
        (b"p=tls-unique,,", True, "unsupported type"),
        (b"p=tls-server-end-point,a=x,", True, "authorization identity"),
        (b"p=tls-server-end-point,,m=x,", True, "unsupported SCRAM extension"),
        (b"p=tls-server-end-pointless,,", True, "unsupported type"),
    ],
)
def test_flag_that_does_not_fit_is_refused(gs2: bytes, plus: bool, reason: str) -> None:
    with pytest.raises(ScramError, match=reason):
        server().first(gs2 + b"n=,r=abcdefghijklmnopqrstuvwx", plus)


def test_it_is_offered_over_tls_alone() -> None:
    def mechanisms(binding: bytes) -> bytes:
        exchange = begin(AuthType.SCRAM_SHA_256, "u", SCRAM_FOO, SEED, 4096, binding=binding)
        return payload_of(exchange.request(), b"R")[4:]

    assert mechanisms(OURS) == PLUS + b"\0SCRAM-SHA-256\0\0"
    assert mechanisms(b"") == b"SCRAM-SHA-256\0\0"


def test_it_cannot_be_chosen_where_it_was_not_offered() -> None:
    exchange = begin(AuthType.SCRAM_SHA_256, "u", SCRAM_FOO, SEED, 4096)
    with pytest.raises(LoginError, match="invalid SASL authentication mechanism"):
        exchange.respond(initial_response(client(OURS).first(), PLUS))


def test_whole_exchange_by_messages() -> None:
    exchange = begin(AuthType.SCRAM_SHA_256, "u", SCRAM_FOO, SEED, 4096, binding=OURS)
    peer = client(OURS)
    challenge = exchange.respond(initial_response(peer.first(), PLUS))
    final = exchange.respond(peer.final(payload_of(challenge.send, b"R")[4:]))
    assert final.done
    assert payload_of(final.send, b"R")[4:] == peer.expected_final
