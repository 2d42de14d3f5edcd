#!/usr/bin/env python3
"""Holds what is not Rust in the tree to a list, for each machine that packages are made for.

    packaging/natives.py

A crate that brings or binds native code must build for arm64 with a C compiler alone; each stands
below with the reason why it does. `deny.toml` bans those that are known not to.
"""

import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGETS = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"]
KNOWN = {
    "libsqlite3-sys": "SQLite in one C file, bundled",
    "ring": "C, and assembler for both, made ready in the crate",
    "ort-sys": "names alone: `load-dynamic` opens the library at run time",
}


def natives(target):
    command = ["cargo", "metadata", "--format-version=1", "--locked", "--all-features", "--filter-platform", target]
    said = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    metadata = json.loads(said)
    resolved = {node["id"] for node in metadata["resolve"]["nodes"]}
    packages = [package for package in metadata["packages"] if package["id"] in resolved]
    return len(packages), {package["name"] for package in packages if package["links"]}


def main():
    wrong = 0
    for target in TARGETS:
        count, found = natives(target)
        for name in sorted(found - KNOWN.keys()):
            print(f"natives: {name} brings native code to {target}: does it build for arm64? Then say why in {sys.argv[0]}")
            wrong += 1
        for name in sorted(KNOWN.keys() - found):
            print(f"natives: {name} is not in the tree of {target} any more: strike it from {sys.argv[0]}")
            wrong += 1
        print(f"natives: {target}: {count} crates, native code in {', '.join(sorted(found))}")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
