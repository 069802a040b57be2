#!/usr/bin/env python3
"""live_auth.py - examples/login_jwt.c as browsers and programs see it: curl and raw sockets, two clients at once, mail read from its standard output.

    tests/live_auth.py build/examples                       what `make test` runs
    tests/live_auth.py --sanitized build/check/live-asan    a sanitizer's build must stay silent

Built on live.py. Last line: N passed, N failed.
"""
import base64
import hashlib
import hmac
import json
import re
import struct
import subprocess
import tempfile
import threading
import time

import live
from live import ask, curl, post, same, test

PASSWORD = "correct horse battery"
TESTS = live.TESTS = []                        # ours instead of those of the HTTP server


class Shop(live.Server):
    """login_jwt with a mailbox."""
    def __init__(self, *arguments):
        self.stdout = tempfile.NamedTemporaryFile("w+")
        super().__init__(*arguments, program="login_jwt", env={"LOGIN_SECRET": "a secret of this run only, " + str(time.time()), "LOGIN_ADMIN": "ann@example.com"})

    def mail(self, about):
        """The newest ticket that was mailed about something."""
        self.stdout.seek(0)
        found = re.findall(about + r", ticket=(\S+)", self.stdout.read())
        assert found, f"no mail about {about!r}"
        return found[-1]

    def said(self, text):
        self.stdout.seek(0)
        return text in self.stdout.read()

    def call(self, path, *words, **form):
        """Status, headers as text, and body of a request by curl; a POST when there is a form."""
        data = [w for name, value in form.items() for w in ("--data-urlencode", f"{name}={value}")]
        text = curl(self.port, path, "-i", *data, *words).decode()
        head, _, body = text.partition("\r\n\r\n")
        return int(head.split()[1]), head, body

    def enter(self, email, **more):
        """Signs up and confirms; what logging in gave: access token, refresh token, the cookie as a curl option."""
        same(self.call("/signup", email=email, password=PASSWORD)[0], 202)
        same(self.call("/confirm", ticket=self.mail("confirm your address"))[0], 200)
        return self.login(email, **more)

    def login(self, email, **more):
        status, head, body = self.call("/login", email=email, password=PASSWORD, **more)
        same(status, 200, "login")
        cookie = re.search(r"[Ss]et-[Cc]ookie: (__Host-session=[^;]+); ?(.*)", head)
        for word in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"):
            assert word in cookie.group(2), head
        reply = json.loads(body)
        return reply["access"], reply["refresh"], ("-b", cookie.group(1))


OURS = ("-H", "Sec-Fetch-Site: same-origin")   # what a browser says of a request from our own page


def bearer(token):
    return ("-H", f"Authorization: Bearer {token}")


def totp(secret, at=None):
    digest = hmac.new(base64.b32decode(secret + "=" * (-len(secret) % 8)), struct.pack(">Q", int(at or time.time()) // 30), hashlib.sha1).digest()
    return "%06d" % ((struct.unpack(">I", digest[digest[-1] & 15:][:4])[0] & 0x7fffffff) % 1000000)


@test()
def signing_up_confirming_and_logging_in(shop):
    same(shop.call("/signup", email="bob@example.com", password=PASSWORD)[0], 202)
    same(shop.call("/login", email="bob@example.com", password=PASSWORD)[0], 403, "before the address is confirmed")
    ticket = shop.mail("confirm your address")
    same(shop.call("/confirm", ticket=ticket)[0], 200)
    same(shop.call("/confirm", ticket=ticket)[0], 401, "a ticket works once")
    access, _, _ = shop.login("bob@example.com")
    same(json.loads(shop.call("/api/me", *bearer(access))[2]), {"sub": "bob@example.com", "orders_read": True, "users_edit": False})
    status, head, body = shop.call("/api/me")
    assert status == 401 and "WWW-Authenticate: Bearer\r\n" in head + "\r\n" and "application/problem+json" in head, head
    status, head, _ = shop.call("/api/me", *bearer(access[:-3] + "AAA"))
    assert status == 401 and 'error="invalid_token"' in head, head
    same(shop.call("/api/me", *bearer(access), *bearer(access))[0], 400, "two credentials")
    same(shop.call("/api/me?access_token=" + access)[0], 401, "a token in the query is never read")


@test()
def roles_decide_and_losing_one_works_at_once(shop):
    admin, _, _ = shop.enter("ann@example.com")
    clerk, _, _ = shop.enter("carl@example.com")
    same(shop.call("/api/orders", *bearer(clerk))[2], "three apples\n")
    status, head, _ = shop.call("/api/users/ann%40example.com/role", *bearer(clerk), role="customer")
    assert status == 403 and 'error="insufficient_scope"' in head and "users:edit" in head, head
    same(shop.call("/api/users/carl%40example.com/role", *bearer(admin), role="admin")[0], 204)
    same(shop.call("/api/orders", *bearer(clerk))[0], 401, "the old token was revoked")
    time.sleep(1.1)                                        # a token issued in the very second of the change counts as older
    clerk, _, _ = shop.login("carl@example.com")
    same(shop.call("/api/users/ann%40example.com/role", *bearer(clerk), role="customer")[0], 204)


@test()
def sessions_end_when_they_should(shop):
    access, refresh, cookie = shop.enter("dora@example.com")
    same(shop.call("/account/logout", *cookie, "-X", "POST")[0], 403, "nobody says where it is from")
    same(shop.call("/account/logout", *cookie, "-X", "POST", "-H", "Origin: https://evil.example")[0], 403)
    same(shop.call("/api/me", *bearer(access))[0], 200)
    same(shop.call("/account/logout", *cookie, *OURS, "-X", "POST")[0], 204)
    same(shop.call("/account/logout", *cookie, *OURS, "-X", "POST")[0], 401, "the session is dead in the store")
    same(shop.call("/refresh", refresh=refresh)[0], 401)
    same(shop.call("/api/me", *bearer(access))[0], 401)


@test()
def refresh_tokens_rotate_and_reuse_ends_the_family(shop):
    _, first, cookie = shop.enter("emil@example.com")
    status, _, body = shop.call("/refresh", refresh=first)
    same(status, 200)
    second = json.loads(body)["refresh"]
    assert second != first
    same(shop.call("/refresh", refresh=first)[0], 401)
    same(shop.call("/refresh", refresh=second)[0], 401, "the family is dead")
    same(shop.call("/account/totp", *cookie, *OURS, "-X", "POST")[0], 401, "and the session with it")
    assert shop.said("refresh token used twice")


@test()
def of_two_clients_at_once_one_wins(shop):
    _, token, _ = shop.enter("fred@example.com")
    found, gate = [], threading.Barrier(8)

    def rotate():
        gate.wait()
        found.append(ask(shop.port, "/refresh", "POST", "Content-Type: application/x-www-form-urlencoded\r\n", b"refresh=" + token.encode()).status)
    clients = [threading.Thread(target=rotate) for _ in range(8)]
    [c.start() for c in clients]
    [c.join() for c in clients]
    assert found.count(200) == 1 and found.count(401) == 7, found


@test()
def the_second_factor_from_set_up_to_recovery(shop):
    _, _, cookie = shop.enter("gina@example.com")
    status, _, body = shop.call("/account/totp", *cookie, *OURS, "-X", "POST")
    same(status, 200)
    secret = re.search(r"secret=([A-Z2-7]+)", body).group(1)
    assert body.startswith("otpauth://totp/Shop:gina%40example.com?"), body
    now = time.time()
    same(shop.call("/account/totp/enable", *cookie, *OURS, code="000000")[0], 401)
    status, _, body = shop.call("/account/totp/enable", *cookie, *OURS, code=totp(secret, now))
    same(status, 200)
    recovery = body.split("\n")[1]
    same(shop.call("/login", email="gina@example.com", password=PASSWORD)[0], 401, "without a code")
    same(shop.call("/login", email="gina@example.com", password=PASSWORD, code=totp(secret, now))[0], 401, "that step was used")
    shop.login("gina@example.com", code=recovery)
    same(shop.call("/login", email="gina@example.com", password=PASSWORD, code=recovery)[0], 401, "a recovery code burns")
    shop.login("gina@example.com", code=totp(secret, now + 30))


@test()
def a_reset_tells_nothing_and_ends_everything(shop):
    access, refresh, cookie = shop.enter("hans@example.com")
    known, unknown = shop.call("/reset/ask", email="hans@example.com"), shop.call("/reset/ask", email="nobody@example.com")
    assert known[0] == unknown[0] == 202 and known[2] == unknown[2], (known, unknown)
    ticket = shop.mail("set a new password")
    same(shop.call("/reset", ticket=ticket, password="short")[0], 400)
    same(shop.call("/reset", ticket=ticket, password="a better horse battery")[0], 204)
    same(shop.call("/reset", ticket=ticket, password="a third horse battery")[0], 401)
    same(shop.call("/refresh", refresh=refresh)[0], 401)
    same(shop.call("/account/totp", *cookie, *OURS, "-X", "POST")[0], 401)
    same(shop.call("/api/me", *bearer(access))[0], 401)
    same(shop.call("/login", email="hans@example.com", password="a better horse battery")[0], 200)


@test()
def guessing_is_limited_and_bodies_are_bounded(shop):
    shop.enter("ida@example.com")
    found = [shop.call("/login", "-H", f"X-Forwarded-For: 192.0.2.{i}", email="ida@example.com", password="wrong horse battery")[0] for i in range(7)]
    same(found, [401] * 5 + [429] * 2, "an address that nobody vouches for is not believed")
    assert "Retry-After:" in shop.call("/login", email="ida@example.com", password=PASSWORD)[1]
    same(ask(shop.port, "/login", "POST", "Content-Type: application/x-www-form-urlencoded\r\n", b"email=" + b"a" * 100000).status, 413)


@test()
def without_a_secret_it_does_not_start(shop):
    for secret, word in ((None, "LOGIN_SECRET"), ("too short", "short")):
        done = live.run(program="login_jwt", env={"LOGIN_SECRET": secret} if secret else None)
        assert done.returncode == 1 and word in done.stderr, done


def each_with_a_shop(function, kit, results):
    """Every test has a program of its own: the guard would remember the failures of the one before."""
    def wrapped(_):
        with Shop("--workers", "2") as shop:
            function(shop)
    wrapped.__name__ = function.__name__
    run_one(wrapped, kit, results)


if __name__ == "__main__":
    run_one, live.run_one = live.run_one, each_with_a_shop
    live.start()
