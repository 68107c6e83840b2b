"""Hellos with one fault each, and the alert that the server answers with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from securestream.protocol.codes import AlertCode
from securestream.protocol.handshake import SecretPolicy
from securestream.protocol.keys import LOW_ORDER
from securestream.protocol.messages import Kind, encode_alert_frame, encode_frame
from securestream.protocol.mlkem import DecapsulationKey

from ..protocol.support import BOTH_SUITES, body, flipped
from .fixed import KEM_EPHEMERAL, KEM_SEED, OLD_SECRET, OTHER_SERVER, SECRET, SERVER, nothing_random
from .handshakes import AEGIS, XCHACHA20, Setup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from securestream.protocol.hybrid import ClientPostQuantum, PostQuantum
    from securestream.protocol.keys import SharedSecret
    from securestream.protocol.suites import Suite


@dataclass(frozen=True, kw_only=True)
class HelloFailure:
    """A frame that a server refuses with an alert frame. `gate` is off, optional or required."""

    name: str
    server_private_key: str
    server_suites: list[int]
    server_secrets: list[str]
    gate: str
    require_route: bool
    server_post_quantum: PostQuantum
    frame: str
    alert: int


def hello_failure(
    name: str,
    frame: bytes,
    alert: AlertCode = AlertCode.PROTOCOL_ERROR,
    *,
    policy: SecretPolicy = SecretPolicy.OFF,
    suites: tuple[Suite, ...] = BOTH_SUITES,
    require_route: bool = False,
    server_wants: PostQuantum = "off",
) -> HelloFailure:
    return HelloFailure(
        name=name,
        server_private_key=bytes(SERVER).hex(),
        server_suites=[int(suite) for suite in suites],
        server_secrets=[] if policy is SecretPolicy.OFF else [bytes(SECRET).hex()],
        gate=policy.name.lower(),
        require_route=require_route,
        server_post_quantum=server_wants,
        frame=frame.hex(),
        alert=int(alert),
    )


def good_hello(
    secret: SharedSecret | None = None,
    wants: ClientPostQuantum = "off",
    *,
    suites: Sequence[Suite] = (AEGIS, XCHACHA20),
    kem_ephemeral: DecapsulationKey = KEM_EPHEMERAL,
) -> bytes:
    both = Setup(secret=secret, client_suites=suites, client_wants=wants, kem_ephemeral=kem_ephemeral).sides()
    return body(both.client.hello(), Kind.HELLO)


def replaced(data: bytes, at: int, new: bytes) -> bytes:
    """`data` with other bytes in it, of any length."""
    return data[:at] + new + data[at + len(new) :]


def hello(data: bytes) -> bytes:
    return encode_frame(Kind.HELLO, data)


def hello_failures() -> list[HelloFailure]:
    return [*faults_of_hello(), *points_in_hello(), *faults_of_secret(), *faults_of_choice(), *faults_of_hybrid()]


def faults_of_hello() -> list[HelloFailure]:
    good, with_secret = good_hello(), good_hello(SECRET)
    version = AlertCode.UNSUPPORTED_VERSION
    return [
        hello_failure("a frame of less than 90 bytes", hello(good[:86])),
        hello_failure("a frame of more than 360 bytes", hello(good + bytes(300))),
        hello_failure("a response in place of hello", encode_frame(Kind.RESPONSE, good)),
        hello_failure("an alert frame in place of hello", encode_alert_frame(1)),
        hello_failure("a frame of unknown kind", b"\x60\x00\x09" + good),
        hello_failure("not this protocol", hello(replaced(good, 0, b"SSH1"))),
        hello_failure("another version", hello(replaced(good, 0, b"SSv2")), version),
        hello_failure("the profile dev", hello(replaced(good, 0, b"SSvd")), version),
        hello_failure("an unknown mode bit", hello(replaced(good, 4, b"\x80")), version),
        hello_failure("mode says secret, the tag is missing", hello(replaced(good, 4, b"\1"))),
        hello_failure("a tag without a secret's mode", hello(replaced(with_secret, 4, b"\0"))),
        hello_failure("a byte behind it", hello(good + b"\0")),
        hello_failure("no suites", hello(with_secret[:5] + b"\0" + with_secret[8:])),
        hello_failure("a suite twice", hello(replaced(good, 6, b"\2\2"))),
    ]


def points_in_hello() -> list[HelloFailure]:
    good = good_hello()
    at = len(good) - 32
    session_key = int.from_bytes(good[at:], "little")
    points = {
        **{f"a point of low order, {point.hex()[:8]}": point for point in sorted(LOW_ORDER)},
        "2^255 - 19": (2**255 - 19).to_bytes(32, "little"),
        "2^255 - 1": (2**255 - 1).to_bytes(32, "little"),
        "bit 255 is set": (session_key + 2**255).to_bytes(32, "little"),
    }
    return [hello_failure(f"session key: {name}", hello(good[:at] + point)) for name, point in points.items()]


def faults_of_secret() -> list[HelloFailure]:
    good, with_secret = good_hello(), good_hello(SECRET)
    alert = AlertCode.BAD_SECRET
    required = SecretPolicy.REQUIRED
    return [
        hello_failure("a secret where none is taken", hello(with_secret), alert),
        hello_failure("no secret where one is required", hello(good), alert, policy=required),
        hello_failure("another secret", hello(good_hello(OLD_SECRET)), alert, policy=required),
        hello_failure(
            "another secret where it is optional", hello(good_hello(OLD_SECRET)), alert, policy=SecretPolicy.OPTIONAL
        ),
        hello_failure(
            "one bit of the tag", hello(flipped(with_secret, 8 * len(with_secret) - 1)), alert, policy=required
        ),
        hello_failure("one bit of the route", hello(flipped(with_secret, 8 * 20)), alert, policy=required),
    ]


def faults_of_choice() -> list[HelloFailure]:
    with nothing_random():
        blind = body(Setup(server_key=None).sides().client.hello(), Kind.HELLO)
    wants_another = Setup(server_key=OTHER_SERVER.public_key, middlebox_key=SERVER.public_key).sides()
    another = body(wants_another.client.hello(), Kind.HELLO)
    no_suite, no_key = AlertCode.NO_COMMON_SUITE, AlertCode.UNKNOWN_SERVER_KEY
    only_new = good_hello(suites=[AEGIS])
    return [
        hello_failure("no common suite", hello(only_new), no_suite, suites=(XCHACHA20,)),
        hello_failure("none of its suites is known", hello(replaced(good_hello(), 6, b"\xf0\xf1")), no_suite),
        hello_failure("the route names another server", hello(another), no_key),
        hello_failure("a random route where one is required", hello(blind), no_key, require_route=True),
        hello_failure(
            "one bit of a route that is required", hello(flipped(good_hello(), 8 * 20)), no_key, require_route=True
        ),
    ]


def not_a_key(place: int, value: int) -> DecapsulationKey:
    """One whose public half has this coefficient: no encapsulation key where it is 3,329 or more."""
    key = DecapsulationKey.from_seed(KEM_SEED)
    at, odd = divmod(3 * place, 2)
    pair = int.from_bytes(key.public_bytes[at : at + 2], "little")
    kept = pair & (0x000F if odd else 0xF000)
    key.public_bytes = replaced(key.public_bytes, at, (kept | value << 4 * odd).to_bytes(2, "little"))
    return key


def faults_of_hybrid() -> list[HelloFailure]:
    """Of what the hybrid handshake adds; the server has it unless it is said that it hasn't."""

    def fault(
        name: str,
        data: bytes,
        alert: AlertCode = AlertCode.PROTOCOL_ERROR,
        *,
        wants: PostQuantum = "prefer",
        policy: SecretPolicy = SecretPolicy.OFF,
        suites: tuple[Suite, ...] = BOTH_SUITES,
    ) -> HelloFailure:
        frame = encode_frame(Kind.HELLO, data)
        return hello_failure(f"hybrid: {name}", frame, alert, server_wants=wants, policy=policy, suites=suites)

    good, with_secret, other = (good_hello(secret, "prefer") for secret in (None, SECRET, OLD_SECRET))
    again, version, required = good_hello(wants="fallback"), AlertCode.UNSUPPORTED_VERSION, SecretPolicy.REQUIRED
    first, last, only_new = not_a_key(0, 3_329), not_a_key(767, 4_095), good_hello(wants="prefer", suites=[AEGIS])
    return [
        fault("a server that has none", good, version, wants="off"),
        fault("a classical hello where it is demanded", good_hello(), version, wants="require"),
        fault("a second attempt, and nobody has refused the first", again, AlertCode.INAPPROPRIATE_FALLBACK),
        fault("the same where it is demanded", again, AlertCode.INAPPROPRIATE_FALLBACK, wants="require"),
        fault("a frame of less than 1,274 bytes", good[: 1_273 - 3]),
        fault("a frame of more than 1,400 bytes", good + bytes(1_401 - 3 - len(good))),
        fault("the encapsulation key is a byte short", good[:-1]),
        fault("a byte behind it", good + b"\0"),
        fault("mode says classical", replaced(good, 4, b"\0")),
        fault("mode says secret, the tags are missing", replaced(good, 4, b"\3")),
        fault("the first coefficient is 3,329", good_hello(wants="prefer", kem_ephemeral=first)),
        fault("the last coefficient is 4,095", good_hello(wants="prefer", kem_ephemeral=last)),
        fault("the same behind a secret", good_hello(SECRET, "prefer", kem_ephemeral=last), policy=required),
        fault("another secret", other, AlertCode.BAD_SECRET, policy=required),
        fault(
            "another secret, and the last coefficient is 4,095",
            good_hello(OLD_SECRET, "prefer", kem_ephemeral=last),
            AlertCode.BAD_SECRET,
            policy=required,
        ),
        fault(
            "one bit of the encapsulation key behind a secret",
            flipped(with_secret, 8 * (len(with_secret) - 100)),
            AlertCode.BAD_SECRET,
            policy=required,
        ),
        fault(
            "one bit of the last tag behind a secret",
            flipped(with_secret, 8 * len(with_secret) - 1),
            AlertCode.BAD_SECRET,
            policy=required,
        ),
        fault("no common suite", only_new, AlertCode.NO_COMMON_SUITE, suites=(XCHACHA20,)),
    ]
