#!/usr/bin/env python3
"""Writes the package's bill of materials, CycloneDX 1.5 in JSON, to standard output.

    packaging/sbom.py TARGET RUNTIME_LIBRARY     e.g. x86_64-unknown-linux-gnu vendor/.../libonnxruntime.so

The crates that the binary links (no build or test dependencies, this target's only) with the
hashes of Cargo.lock, ONNX Runtime with the library's hash, and the models with theirs. The same
inputs give the same bytes.
"""

import datetime
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tomllib
import uuid

ROOT = pathlib.Path(__file__).resolve().parent.parent


def linked(metadata):
    """Ids of the packages that the root links, and for each the ones it depends on."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    packages = {package["id"]: package for package in metadata["packages"]}
    edges, waiting = {}, [metadata["resolve"]["root"]]
    while waiting:
        at = waiting.pop()
        if at in edges:
            continue
        normal = [
            dep["pkg"]
            for dep in nodes[at]["deps"]
            if any(kind["kind"] is None for kind in dep["dep_kinds"])
        ]
        # What a procedural macro pulls in runs in the compiler and is not linked.
        macro = any("proc-macro" in target["kind"] for target in packages[at]["targets"])
        edges[at] = [] if macro else sorted(normal)
        waiting += edges[at]
    return edges, packages


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def sha256(path):
    return {"alg": "SHA-256", "content": hashlib.sha256(path.read_bytes()).hexdigest()}


def crate(package, checksums):
    entry = {
        "type": "library",
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "purl": purl(package),
    }
    # Older crates write MIT/Apache-2.0, which SPDX has as OR.
    if package["license"]:
        entry["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    checksum = checksums.get((package["name"], package["version"]))
    if checksum:
        entry["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return entry


def runtime(library):
    script = (ROOT / "tools/fetch-runtime.sh").read_text()
    version = re.search(r"^version=(\S+)$", script, re.M).group(1)
    ref = f"pkg:pypi/onnxruntime@{version}"
    return {
        "type": "library",
        "bom-ref": ref,
        "name": "onnxruntime",
        "version": version,
        "purl": ref,
        "licenses": [{"license": {"id": "MIT"}}],
        "hashes": [sha256(library)],
    }


def models():
    for file in sorted(ROOT.glob("models/*/*/model.onnx")):
        name, version = file.parts[-3:-1]
        card = tomllib.loads((file.parent / "model.toml").read_text())
        entry = {
            "type": "machine-learning-model",
            "bom-ref": f"model:{name}@{version}",
            "name": name,
            "version": version,
            "hashes": [sha256(file)],
        }
        licence = card.get("license") or card.get("licence")
        if isinstance(licence, str):
            entry["licenses"] = [{"license": {"name": licence}}]
        yield entry


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    target, library = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
    command = ["cargo", "metadata", "--format-version=1", "--locked", "--filter-platform", target]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    checksums = {
        (package["name"], package["version"]): package["checksum"]
        for package in lock["package"]
        if "checksum" in package
    }
    edges, packages = linked(metadata)
    root = packages[metadata["resolve"]["root"]]
    crates = sorted((packages[at] for at in edges if at != root["id"]), key=purl)
    others = [runtime(library), *models()]
    dependencies = [
        {"ref": purl(packages[at]), "dependsOn": [purl(packages[to]) for to in edges[at]]}
        for at in edges
    ]
    for entry in dependencies:
        if entry["ref"] == purl(root):
            entry["dependsOn"] += [other["bom-ref"] for other in others]
        entry["dependsOn"].sort()
    when = datetime.datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", 0)), datetime.timezone.utc)
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": when.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "application",
                "bom-ref": purl(root),
                "name": root["name"],
                "version": root["version"],
                "licenses": [{"expression": root["license"]}],
            },
            "properties": [{"name": "andon:target", "value": target}],
        },
        "components": [crate(package, checksums) for package in crates] + others,
        "dependencies": sorted(dependencies, key=lambda entry: entry["ref"]),
    }
    text = json.dumps(bom, sort_keys=True)
    bom["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, text)}"
    json.dump(bom, sys.stdout, indent=1, sort_keys=True)
    print()


if __name__ == "__main__":
    main()
