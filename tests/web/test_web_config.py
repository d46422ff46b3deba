"""The rules of the web configuration, each with its error sentence."""

import re

import pytest

from monitor.web.web_config import HttpServerConfig, TlsServerConfig, WebConfig

HASH = "$2y$10$QwErTyUiOpAsDfGhJkLzXuQwErTyUiOpAsDfGhJkLzXuQwErTyUiO"


def tls(**settings):
    return TlsServerConfig(cert_file="c.pem", key_file="k.pem", **settings)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: tls(client_auth_type="RequireAndVerifyClientCert"),
            "client_auth_type RequireAndVerifyClientCert needs a client_ca_file",
        ),
        (
            lambda: tls(client_ca_file="ca.pem"),
            "client_ca_file has no effect with client_auth_type NoClientCert; RequireAndVerify",
        ),
        (
            lambda: tls(
                client_auth_type="VerifyClientCertIfGiven",
                client_ca_file="ca.pem",
                client_allowed_sans=("a",),
            ),
            "client_allowed_sans needs client_auth_type RequireAndVerifyClientCert",
        ),
        (
            lambda: tls(min_version="TLS13", max_version="TLS12"),
            "min_version TLS13 is above max_version TLS12",
        ),
        (lambda: tls(cipher_suites=("TLS_RSA_WITH_RC4_128_SHA",)), "TLS_RSA_WITH_RC4_128_SHA is"),
        (lambda: HttpServerConfig(headers={"X-Own": "1"}), "headers: X-Own is not one of Content-"),
        (
            lambda: HttpServerConfig(headers={"X-Frame-Options": "deny\r\nSet-Cookie: a=b"}),
            "headers: X-Frame-Options must be one line of ASCII",
        ),
        (lambda: WebConfig(basic_auth_users={"a:b": HASH}), "'a:b' has a colon"),
        (lambda: WebConfig(basic_auth_users={"bob": "pa$$word"}), "bob needs a bcrypt hash"),
        (lambda: WebConfig(basic_auth_users={"bob": HASH + "\n"}), "bob needs a bcrypt hash"),
    ],
)
def test_rules(make, sentence):
    """A rule's violation is refused with what is wrong and what would be right."""
    with pytest.raises(ValueError, match=re.escape(sentence)):
        make()


def test_no_secret_in_the_sentence():
    """A password in place of a hash is not repeated in the sentence."""
    with pytest.raises(ValueError, match="bob") as caught:
        WebConfig(basic_auth_users={"bob": "hunter2"})

    assert "hunter2" not in str(caught.value)


def test_everything_may_be_left_out():
    """An empty file means plain HTTP without a log-in."""
    config = WebConfig()

    assert config.tls_server_config is None
    assert not config.basic_auth_users
