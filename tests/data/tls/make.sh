#!/bin/sh
# Makes the certificates of tests/modbus_poller/tls.rs, valid for a hundred years. Not secret.
set -eu
cd "$(dirname -- "$0")"
key() { openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$1.key"; }
key ca
openssl req -x509 -new -key ca.key -days 36500 -subj "/CN=andon test authority" -out ca.pem
for name in device box; do
    key "$name"
    openssl req -new -key "$name.key" -subj "/CN=$name" -out "$name.csr"
    printf 'subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth\n' >"$name.ext"
    openssl x509 -req -in "$name.csr" -CA ca.pem -CAkey ca.key -set_serial "0x$(openssl rand -hex 8)" \
        -days 36500 -extfile "$name.ext" -out "$name.pem"
    rm "$name.csr" "$name.ext"
done
rm ca.key
