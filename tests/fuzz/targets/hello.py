"""The body of a hello: what is taken is written again as the same bytes."""

from __future__ import annotations

from securestream.protocol.codes import AlertCode
from securestream.protocol.keys import LOW_ORDER, PublicKey
from securestream.protocol.messages import Hello, Kind, decode_hello_untrusted

from ...protocol.support import CLIENT_EPHEMERAL, SECRET, body, new_client, outcome

SHOWS = "fuzz-parsers"
PARSERS = ("decode_hello_untrusted",)


NOISE1_SIZES = {(False, False): 32, (True, False): 48, (False, True): 1_216, (True, True): 1_248}


def one_input(data: bytes) -> None:
    hello = outcome(decode_hello_untrusted, data)
    if isinstance(hello, Hello):
        assert hello.encode()[3:] == data
        assert hello.header + hello.noise1 == data
        assert 1 <= len(hello.suites) == len(set(hello.suites)) <= 255
        assert (len(hello.route), len(hello.noise1)) == (48, NOISE1_SIZES[hello.uses_secret, hello.hybrid])
        PublicKey(hello.e)
    else:
        version_or_mode = data[:3] == b"SSv" and len(data) >= 4 and (data[3:4] != b"1" or len(data) >= 6)
        assert hello is AlertCode.PROTOCOL_ERROR or (hello is AlertCode.UNSUPPORTED_VERSION and version_or_mode)


def seeds() -> dict[str, bytes]:
    plain = body(new_client().hello(), Kind.HELLO)
    secret = body(new_client(secret=SECRET).hello(), Kind.HELLO)
    e = bytes(CLIENT_EPHEMERAL.public_key)
    made = {"plain": plain, "secret": secret, "other_version": b"SSv2" + plain[4:], "other_protocol": b"GET / HTTP/1.1"}
    made |= {"another_mode": plain[:4] + b"\x04" + plain[5:], "hybrid_cut": plain[:4] + b"\x02" + plain[5:]}
    made |= {"hybrid": body(new_client(post_quantum="prefer").hello(), Kind.HELLO)}
    made |= {"duplicates": plain[:6] + b"\1\1" + plain[8:]}
    made |= {"most_suites": plain[:5] + bytes([255, *range(1, 256)]) + bytes(48) + e}
    made |= {"no_suites": plain[:5] + bytes(49) + e, "low_order": plain[:-32] + min(LOW_ORDER), "cut": plain[:5]}
    return made
