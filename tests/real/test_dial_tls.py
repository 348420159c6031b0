"""Contexts and trust roots: what an operator's wrong file leads to, and what our own listeners and clients refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealroute.base.errors import OperatorError, PeerError
from sealroute.net.tls import TlsLayer, policy_client_context, server_context, smtp_client_context, system_roots_pem
from simnet.pki import Ca, self_signed


def join(client: TlsLayer, server: TlsLayer) -> None:
    """Carry the handshake to its end, in memory."""
    data = client.handshake()
    for _ in range(10):
        data = server.handshake(data) if not server.done else server.take_outgoing()
        data = client.handshake(data) if not client.done else client.take_outgoing()
        if client.done and server.done:
            return


def test_two_layers_talk_and_say_goodbye(tmp_path: Path) -> None:
    entity = Ca("Root").leaf("mx.example.com")
    chain, key = entity.write(tmp_path, "mx")
    client = TlsLayer(smtp_client_context(), sni="mx.example.com")
    server = TlsLayer(server_context(str(chain), str(key)), server_side=True)
    join(client, server)
    assert (client.version, client.chain, server.chain) == ("TLSv1.3", (entity.der,), ())
    assert client.cipher
    message = b"hello" * 10_000
    assert server.decrypt(client.encrypt(message)) == message
    assert client.decrypt(server.encrypt(b"hi")[:5]) == b""
    assert not server.closed
    server.decrypt(client.close_notify())
    assert server.closed


def test_a_broken_record_is_the_peers_fault(tmp_path: Path) -> None:
    chain, key = self_signed("mx.example.com").write(tmp_path, "mx")
    client = TlsLayer(smtp_client_context())
    server = TlsLayer(server_context(str(chain), str(key)), server_side=True)
    join(client, server)
    record = bytearray(client.encrypt(b"hello"))
    record[-1] ^= 1
    with pytest.raises(PeerError, match="bad record mac"):
        server.decrypt(bytes(record))


def test_key_and_certificate_in_one_file(tmp_path: Path) -> None:
    entity = self_signed("mx.example.com")
    both = tmp_path / "both.pem"
    both.write_bytes(entity.key_pem + entity.pem)
    server_context(str(both))


def test_files_a_listener_cannot_use(tmp_path: Path) -> None:
    chain, key = self_signed("mx.example.com").write(tmp_path, "mx")
    _, other_key = self_signed("mx.example.com").write(tmp_path, "other")
    empty = tmp_path / "empty.pem"
    empty.touch()
    for arguments, what in (
        ((tmp_path / "none.pem", key), f"{tmp_path}/none.pem: the file cannot be read: No such file or directory"),
        ((chain, tmp_path / "none.key"), f"{tmp_path}/none.key: the file cannot be read"),
        ((chain, other_key), "the certificate and key cannot be used: key values mismatch"),
        ((empty, key), "the certificate and key cannot be used: "),
        ((chain, empty), "the certificate and key cannot be used: "),
    ):
        with pytest.raises(OperatorError) as caught:
            server_context(*map(str, arguments))
        assert what in str(caught.value)


def test_roots_come_from_the_operator_or_the_system(tmp_path: Path) -> None:
    root = Ca("Root")
    file = tmp_path / "ca.pem"
    file.write_bytes(root.pem)
    assert system_roots_pem(str(file)) == root.pem
    assert policy_client_context(str(file)).get_ca_certs(binary_form=True) == [root.der]
    file.write_bytes(b"no certificate")
    with pytest.raises(OperatorError, match="no PEM certificate in this file"):
        system_roots_pem(str(file))
    file.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(OperatorError, match="the CA certificates cannot be used"):
        policy_client_context(str(file))


def test_the_systems_bundle_can_be_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(Ca("Root").pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    assert system_roots_pem() == file.read_bytes()


def test_policy_hosts_must_prove_their_name(tmp_path: Path) -> None:
    root = Ca("Root")
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(root.pem)
    for name, why in (("mta-sts.example.com", ""), ("mta-sts.example.net", "Hostname mismatch")):
        chain, key = root.leaf(name).write(tmp_path, name)
        client = TlsLayer(policy_client_context(str(ca_file)), sni="mta-sts.example.com")
        server = TlsLayer(server_context(str(chain), str(key)), server_side=True)
        if why:
            with pytest.raises(PeerError, match=why):
                join(client, server)
        else:
            join(client, server)
            assert client.done
