#!/usr/bin/env python3
"""auth.py - `make bench_auth`: chopin_auth.h beside OpenSSL, nettle, libsodium, libargon2, libxcrypt and libjwt, and which bars of its specification hold.

    bench/auth.py                   everything: about 5 minutes
    bench/auth.py hash jwt pk       only those programs
    bench/auth.py --word SHA        only items whose name holds the word (hash and pk)

Each program interleaves its contenders in one run, rotates their order, compares their outputs first and prints medians. A bar is a ratio of CPU time to one
library beside us, taken from the table that we set ourselves for a Zen 3 core; where a library is unlike the one in that table (RSA by AVX-512, another
libjwt), the time of the table counts as well. Ends with 1 when a bar is missed.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = {"hash": ["-lcrypto", "-lnettle", "-lsodium", "-largon2", "-lcrypt"], "jwt": ["-ljwt"], "pk": ["-lcrypto", "-lsodium"]}
HEADERS = {"openssl/evp.h": "libssl-dev", "nettle/sha2.h": "nettle-dev", "sodium.h": "libsodium-dev", "argon2.h": "libargon2-dev", "crypt.h": "libcrypt-dev", "jwt.h": "libjwt-dev"}

ZEN3_GHZ = 3.2
# item, ours, theirs, largest ratio, k cycles of a Zen 3 core whose time does as well (0: none)
BARS = [
    ("SHA-256 64 KiB, per byte", "chopin", "openssl", 1.03, 0), ("SHA-256 64 KiB, per byte", "chopin portable", "libsodium", 0.97, 0),
    ("SHA-512 64 KiB, per byte", "chopin portable", "nettle", 1.03, 0), ("SHA-256 64 B", "chopin", "openssl", 1.07, 0),
    ("HMAC-SHA-256 keyed, 64 B", "chopin", "nettle", 0.87, 0.48), ("HMAC-SHA-256 keyed, 1 KiB", "chopin", "nettle", 0.96, 0),
    ("PBKDF2-SHA-256, 4096", "chopin", "nettle", 0.71, 0), ("PBKDF2-SHA-256, 600000", "chopin", "nettle", 0.73, 0), ("PBKDF2-SHA-512, 4096", "chopin", "openssl", 0.83, 0),
    ("Argon2id 19456/2/1", "chopin, kept arena", "libargon2", 0.55, 0), ("Argon2id 19456/2/1", "chopin portable", "libargon2", 1.02, 0),
    ("scrypt 2^17/8/1", "chopin", "libsodium", 1.02, 0), ("bcrypt cost 10", "chopin", "libxcrypt", 1.02, 0),
    ("HS256", "chopin issue", "libjwt issue", 0.16, 3.8), ("HS256", "chopin verify", "libjwt verify", 0.134, 3.8),
    ("Ed25519 verify", "chopin", "libsodium", 1.01, 0), ("Ed25519 sign", "chopin", "libsodium", 1.19, 0),
    ("ES256 verify", "chopin", "OpenSSL low level", 1.00, 0), ("ES256 sign", "chopin", "OpenSSL low level", 1.98, 0),
    ("RS256-2048 verify", "chopin", "OpenSSL EVP", 1.03, 0), ("RS256-2048 sign", "chopin", "OpenSSL EVP", 2.79, 6000), ("PS256-2048 verify", "chopin", "OpenSSL EVP", 1.06, 0),
]


def missing():
    return sorted({package for header, package in HEADERS.items() if not Path("/usr/include", header).exists()})


def install():
    packages = missing()
    if packages and os.geteuid() == 0:
        subprocess.run("apt-get -qq update && apt-get -qq install -y --no-install-recommends " + " ".join(packages), shell=True, stdout=subprocess.DEVNULL, check=False)
    if missing():
        sys.exit("auth.py: missing: " + " ".join(missing()) + "   (Debian's names)")


def measure(name, folder, word):
    """What one program says, which is also printed: {(item, contender): (cycles, ns)}."""
    binary = Path(folder, name)
    command = [*os.environ.get("CC", "cc").split(), "-O2", str(ROOT / f"bench/auth_bench_{name}.c"), "-o", str(binary), *PROGRAMS[name]]
    subprocess.run(command, check=True)
    cpu = str(max(os.sched_getaffinity(0)))
    text = subprocess.run(["taskset", "-c", cpu, str(binary), *([word] if word and name != "jwt" else [])], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    print(text, flush=True)
    found, item = {}, "HS256"
    for line in text.splitlines():
        hash_row = re.match(r"    (\S.*?) +([\d.]+) cycles +([\d.]+) ns", line)
        jwt_row = re.match(r"(\S.*?) +(\d+) cycles +(\d+) ns", line)
        pk_row = re.match(r"(\S.*?) {2,}(\S.*?) {2,}([\d.]+) k +([\d.]+) us", line)
        if hash_row:
            found[item, hash_row[1]] = float(hash_row[2]), float(hash_row[3])
        elif pk_row:
            found[pk_row[1], pk_row[2]] = float(pk_row[3]) * 1e3, float(pk_row[4]) * 1e3
        elif jwt_row:
            found["HS256", jwt_row[1]] = float(jwt_row[2]), float(jwt_row[3])
        elif name == "hash":
            item = line.strip()
    return found


def judge(found):
    bad = 0
    print("| item | ours, CPU time | theirs | ratio | bar | |\n|---|---:|---:|---:|---:|---|")
    for item, ours, theirs, bar, k_cycles in BARS:
        if (item, ours) not in found or (item, theirs) not in found:
            continue
        (_, a), (_, b) = found[item, ours], found[item, theirs]
        verdict = "holds" if a <= bar * b else "holds by its time" if a <= k_cycles * 1e3 / ZEN3_GHZ else "MISSED"
        bad += verdict == "MISSED"
        print(f"| {item}: {ours} | {a:,.2f} ns | {theirs} {b:,.2f} ns | {a / b:.3f} | {bar} | {verdict} |")
    return bad


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("programs", nargs="*", choices=[*PROGRAMS, []])
    parser.add_argument("--word")
    options = parser.parse_args()
    install()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.programs or PROGRAMS:
            found.update(measure(name, folder, options.word))
    bad = judge(found)
    print(f"{bad} bars missed" if bad else "every bar holds")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
