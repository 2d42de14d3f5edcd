"""Signatures of models, held both ways against the reference implementation of OpenSSF Model Signing."""

import os
import shutil
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

import rig

NAME = "machine-failure/1.1.0"
CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1()}
FORMATS = {
    "sec1": serialization.PrivateFormat.TraditionalOpenSSL,
    "pkcs8": serialization.PrivateFormat.PKCS8,
}


def key(folder, name, curve=CURVES["P-256"], form=FORMATS["sec1"]):
    secret = ec.generate_private_key(curve)
    pem = serialization.Encoding.PEM
    private, public = folder / f"{name}.key", folder / f"{name}.pem"
    private.write_bytes(secret.private_bytes(pem, form, serialization.NoEncryption()))
    public.write_bytes(secret.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def model(tmp_path):
    """A copy of a model that comes along, with a folder in its folder."""
    folder = tmp_path / "models" / NAME
    shutil.copytree(rig.ROOT / "models" / NAME, folder)
    (folder / "notes").mkdir()
    (folder / "notes" / "who.txt").write_text("the plant\n")
    return folder


def andon(*arguments):
    return subprocess.run(
        [os.environ["ANDON_BIN"], "model", *map(str, arguments)], capture_output=True, text=True, timeout=60)


def reference(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "model_signing", *map(str, arguments)], capture_output=True, text=True, timeout=60)


def reference_sign(model, private):
    return reference("sign", "key", "--private_key", private, "--signature", model / "model.sig", model)


def reference_verify(model, public):
    return reference("verify", "key", "--public_key", public, "--signature", model / "model.sig", model)


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("form", FORMATS)
def test_what_andon_signs_the_reference_verifies(tmp_path, model, curve, form):
    private, public = key(tmp_path, "plant", CURVES[curve], FORMATS[form])
    signed = andon("sign", "--key", private, model)
    assert signed.returncode == 0, signed.stderr
    verified = reference_verify(model, public)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    (model / "golden.json").write_text("{}")
    refused = reference_verify(model, public)
    assert refused.returncode != 0 and "golden.json" in refused.stdout + refused.stderr


@pytest.mark.parametrize("curve", CURVES)
def test_what_the_reference_signs_andon_verifies(tmp_path, model, curve):
    private, public = key(tmp_path, "plant", CURVES[curve])
    signed = reference_sign(model, private)
    assert signed.returncode == 0, signed.stdout + signed.stderr
    verified = andon("verify", "--key", public, model)
    assert verified.returncode == 0, verified.stderr
    _, stranger = key(tmp_path, "stranger", CURVES[curve])
    refused = andon("verify", "--key", stranger, model)
    assert refused.returncode != 0 and "none of those that are trusted" in refused.stderr
    (model / "golden.json").write_text("{}")
    refused = andon("verify", "--key", public, model)
    assert refused.returncode != 0 and "golden.json was changed since it was signed" in refused.stderr


def test_a_box_that_asks_for_signatures_runs_the_references_and_refuses_a_changed_model(tmp_path, model):
    private, public = key(tmp_path, "plant")
    config = tmp_path / "andon.toml"
    config.write_text(f"""
[runtime]
models = "{tmp_path / 'models'}"
require_signature = true
trusted_keys = ["{public}"]
[http]
listen = "127.0.0.1:0"
[store]
path = "{tmp_path / 'andon.db'}"
[broker.plant]
url = "mqtt://127.0.0.1:1883"
[[mqtt]]
broker = "plant"
topic = "plant/{{asset}}/{{tag}}"
payload = "number"
[[prediction]]
name = "failure"
model = "machine-failure"
assets = ["*"]
""")
    check = lambda: andon("check", "--config", config, model)
    refused = check()
    assert refused.returncode != 0 and "andon model sign" in refused.stderr, refused.stderr
    assert reference_sign(model, private).returncode == 0
    good = check()
    assert good.returncode == 0, good.stderr
    (model / "notes" / "who.txt").write_text("somebody else\n")
    refused = check()
    assert refused.returncode != 0 and "was changed since it was signed" in refused.stderr, refused.stderr
