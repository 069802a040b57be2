#!/usr/bin/env python3
"""interop_auth.py - tokens of every algorithm, both ways: examples/jwt_tool.c beside the openssl command, and beside PyJWT where it is installed (Debian: python3-jwt).

    tests/interop_auth.py build/examples

Keys are made by `openssl genpkey`. What we sign they verify and what they sign we verify; a changed byte is refused by each. Last line: N passed, N failed.
"""
import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOOL = Path(sys.argv[1]).resolve() / "jwt_tool"
CLAIMS = {"iss": "https://id.example", "aud": "orders", "sub": "42"}
ARGUMENTS = [f"iss={CLAIMS['iss']}", f"aud={CLAIMS['aud']}", "typ=JWT"]
ALGS = ("HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "EdDSA")
FOLDER = tempfile.TemporaryDirectory()
PYJWT = next((p for p in ("python3", "/usr/bin/python3") if subprocess.run([p, "-c", "import jwt, cryptography"], capture_output=True).returncode == 0), None)


def at(name):
    return os.path.join(FOLDER.name, name)


def run(*command, give=None, ok=True):
    done = subprocess.run([str(c) for c in command], input=give, capture_output=True, timeout=60)
    assert not ok or done.returncode == 0, f"{command}: {done.stderr.decode()}"
    return done


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def raw(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Key:
    """A key of one algorithm as files: for us, and for openssl."""
    def __init__(self, alg):
        self.alg, self.hash = alg, "-sha" + alg[2:] if alg != "EdDSA" else None
        self.secret = None
        if alg.startswith("HS"):
            self.secret = os.urandom(int(alg[2:]) // 8)
            self.ours = self.public = at(alg + ".jwk")
            Path(self.ours).write_text(json.dumps({"kty": "oct", "alg": alg, "k": b64(self.secret)}))
            return
        kind = {"R": ("RSA", "rsa_keygen_bits:2048"), "P": ("RSA", "rsa_keygen_bits:2048"), "E": ("EC", "ec_paramgen_curve:P-256")}[alg[0]] if alg != "EdDSA" else ("ED25519",)
        self.ours, self.public = at(alg + ".pem"), at(alg + ".pub")
        run("openssl", "genpkey", "-algorithm", kind[0], *(("-pkeyopt", kind[1]) if len(kind) > 1 else ()), "-out", self.ours)
        run("openssl", "pkey", "-in", self.ours, "-pubout", "-out", self.public)

    def options(self):
        return ("-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest") if self.alg.startswith("PS") else ()

    def openssl_sign(self, data):
        Path(at("data")).write_bytes(data)
        if self.secret:
            return run("openssl", "dgst", self.hash, "-mac", "HMAC", "-macopt", "hexkey:" + self.secret.hex(), "-binary", at("data")).stdout
        if self.alg == "EdDSA":
            return run("openssl", "pkeyutl", "-sign", "-rawin", "-inkey", self.ours, "-in", at("data")).stdout
        signature = run("openssl", "dgst", self.hash, *self.options(), "-sign", self.ours, at("data")).stdout
        return der_to_raw(signature) if self.alg == "ES256" else signature

    def openssl_verifies(self, data, signature):
        if self.secret:
            return self.openssl_sign(data) == signature
        Path(at("data")).write_bytes(data)
        Path(at("sig")).write_bytes(raw_to_der(signature) if self.alg == "ES256" else signature)
        if self.alg == "EdDSA":
            return run("openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", self.public, "-sigfile", at("sig"), "-in", at("data"), ok=False).returncode == 0
        return run("openssl", "dgst", self.hash, *self.options(), "-verify", self.public, "-signature", at("sig"), at("data"), ok=False).returncode == 0


def der_to_raw(der):
    """SEQUENCE { r, s } as the 64 bytes of a token."""
    out, i = b"", 2
    for _ in range(2):
        n = der[i + 1]
        out += int.from_bytes(der[i + 2:i + 2 + n], "big").to_bytes(32, "big")
        i += 2 + n
    return out


def raw_to_der(sig):
    body = b""
    for part in (sig[:32], sig[32:]):
        number = part.lstrip(b"\0") or b"\0"
        number = b"\0" + number if number[0] > 127 else number
        body += bytes([2, len(number)]) + number
    return bytes([0x30, len(body)]) + body


def issue(key):
    return run(TOOL, "issue", key.ours, f"alg={key.alg}", *ARGUMENTS, "sub=42").stdout.decode().strip()


def verifies(key, token):
    return run(TOOL, "verify", key.public, f"alg={key.alg}", *ARGUMENTS, give=token.encode(), ok=False).returncode == 0


def theirs(key, alg=None):
    head = {"alg": alg or key.alg, "typ": "JWT"}
    text = b64(json.dumps(head).encode()) + "." + b64(json.dumps({**CLAIMS, "exp": int(time.time()) + 600}).encode())
    return text + "." + b64(key.openssl_sign(text.encode()))


def spoiled(token):
    text, signature = token.rsplit(".", 1)
    bytes_ = bytearray(raw(signature))
    bytes_[len(bytes_) // 2] ^= 1
    return text + "." + b64(bytes(bytes_))


def openssl_verifies_ours(key):
    text, signature = issue(key).rsplit(".", 1)
    assert json.loads(raw(text.split(".")[0]))["alg"] == key.alg
    assert key.openssl_verifies(text.encode(), raw(signature))
    assert not key.openssl_verifies(text.encode(), raw(spoiled(text + "." + signature).rsplit(".", 1)[1]))


def we_verify_openssls(key):
    token = theirs(key)
    assert verifies(key, token)
    assert not verifies(key, spoiled(token))
    for other in ALGS:                                     # the same signature under another name
        assert other == key.alg or not verifies(key, theirs(key, other)), other


def we_verify_ourselves(key):
    assert verifies(key, issue(key)) and not verifies(key, spoiled(issue(key)))


def pyjwt(key, code, give=b""):
    text = f"""
import jwt, sys, json
alg, claims = {key.alg!r}, {CLAIMS!r}
private = bytes.fromhex({(key.secret or b'').hex()!r}) or open({key.ours!r}).read()
public = bytes.fromhex({(key.secret or b'').hex()!r}) or open({key.public!r}).read()
{code}
"""
    return run(PYJWT, "-c", text, give=give).stdout.decode().strip()


def pyjwt_verifies_ours(key):
    code = "print(jwt.decode(sys.stdin.read().strip(), public, algorithms=[alg], issuer=claims['iss'], audience=claims['aud'])['sub'])"
    assert pyjwt(key, code, issue(key).encode()) == "42"


def we_verify_pyjwts(key):
    assert verifies(key, pyjwt(key, "import time; print(jwt.encode({**claims, 'exp': int(time.time()) + 600}, private, algorithm=alg))"))


def main():
    passed = failed = 0
    tests = [openssl_verifies_ours, we_verify_openssls, we_verify_ourselves]
    if PYJWT:
        tests += [pyjwt_verifies_ours, we_verify_pyjwts]
    else:
        print("skipped: PyJWT is not installed (Debian: python3-jwt)")
    for alg in ALGS:
        key = Key(alg)
        for test in tests:
            try:
                test(key)
                passed += 1
            except AssertionError as reason:
                failed += 1
                print(f"FAILED {alg} {test.__name__} {reason}")
    print(f"{passed} passed, {failed} failed")
    return failed != 0


sys.exit(main())
