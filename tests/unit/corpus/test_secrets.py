"""Secrets and addresses: what is found, and what is left alone."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.corpus.cleaning.documents import make_document
from services.corpus.cleaning.secrets import find_addresses, find_secrets, in_words, mask
from services.corpus.reasons import Code, Reason
from services.corpus.rules import Rules

# Put together here, so that no scanner takes this file for a leak.
LETTERS = "Zk3vQ8mW1xR5tB7nL2pD9sF4gH6jC0yT3eU8iO5aKwXq"
HEX = "9f86d081884c7d659a2feaa0c55ad015"


def found(text: str) -> list[str]:
    return [finding.kind for finding in find_secrets(text)]


@pytest.mark.parametrize(
    ("kind", "secret"),
    [
        ("AWS key", "AKIA" + "Z7QW3ERT5YUI2OPA"),
        ("Google key", "AIza" + LETTERS[:35]),
        ("Azure key", "AccountKey=" + (LETTERS * 2)[:86] + "=="),
        ("GitHub token", "ghp_" + LETTERS[:36]),
        ("GitHub token", "github_pat_" + LETTERS + LETTERS),
        ("GitLab token", "glpat-" + LETTERS[:20]),
        ("Slack token", "xoxb-" + "238105669472-" + LETTERS[:24]),
        ("Slack token", "https://hooks.slack.com/services/" + "T0ABCDEFG/B0ABCDEFG/" + LETTERS[:24]),
        ("Stripe key", "sk_live_" + LETTERS[:24]),
        ("OpenAI key", "sk-" + LETTERS[:20] + "T3BlbkFJ" + LETTERS[:20]),
        ("Anthropic key", "sk-ant-" + "api03-" + LETTERS * 2),
        ("npm token", "npm_" + LETTERS[:36]),
        ("PyPI token", "pypi-AgE" + LETTERS * 2),
        ("Telegram token", "4837261950:AA" + LETTERS[:33]),
        ("Twilio key", "SK" + HEX),
        ("SendGrid key", "SG." + LETTERS[:22] + "." + LETTERS[:43]),
        ("Hugging Face token", "hf_" + "QwErTyUiOpAsDfGhJkLzXcVbNmQwErTyUi"),
        ("JSON web token", "eyJ" + LETTERS[:20] + ".eyJ" + LETTERS[:30] + "." + LETTERS),
        ("password", "https://anna:" + "kX9vT2qLm" + "@db.house.net/x"),
        ("password", 'password = "' + "kX9!vT2qLm" + '"'),
        ("password", "DB_PASSWD: " + "kX9vT2qLm-77"),
        ("password", "api_key: '" + HEX + "'"),
        ("password", "Authorization: Bearer " + LETTERS),
    ],
)
def test_secrets_are_found_by_their_form(kind: str, secret: str):
    text = f"I ran it with {secret} and it worked."

    assert kind in found(text)
    assert in_words(find_secrets(text)) == f"1 {kind}"
    hidden = mask(text, find_secrets(text))
    assert f"[{kind}]" in hidden and hidden.startswith("I ran it with ") and hidden.endswith(" and it worked.")


def test_a_private_key_goes_whole():
    for label in ("RSA PRIVATE KEY", "PRIVATE KEY", "OPENSSH PRIVATE KEY", "PGP PRIVATE KEY BLOCK"):
        key = f"-----BEGIN {label}-----\n" + "\n".join([LETTERS] * 12) + f"\n-----END {label}-----"

        assert (
            mask(f"Mine:\n\n{key}\n\nOops.", find_secrets(f"Mine:\n\n{key}\n\nOops."))
            == "Mine:\n\n[private key]\n\nOops."
        )


@pytest.mark.parametrize(
    "text",
    [
        "AWS writes AKIAIOSFODNN7EXAMPLE and wJalrXUtnFfi-K7MDENG-bPxRfiCYEXAMPLEKEY in its manual",
        "commit 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b fixed it",
        "the id is 123e4567-e89b-12d3-a456-426614174000",
        'password = "your-password-here"',
        'password: "<your password>"',
        'password = os.environ["DB_PASSWORD"]',
        "password = get_password(user)",
        "token = parser.next_token()",
        "let token = Token::Identifier;",
        "the token: something-that-people-say, mostly",
        "secret: a garden behind the house",
        "The author: https://example.net/people/anna",
        'auth: "${{ secrets.GITHUB_TOKEN }}"',
        "git clone https://user:password@example.net/x",
        "key: value, and other keys",
        "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "-----BEGIN CERTIFICATE-----\nMIIBszCCARwCCQD\n-----END CERTIFICATE-----",
        "-----BEGIN PUBLIC KEY-----\nMIIBIjANBg\n-----END PUBLIC KEY-----",
        "we use sk-learn and SK Telecom, and hf_hub_download",
        "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    ],
)
def test_examples_hashes_and_prose_are_left_alone(text: str):
    assert found(text) == []


def test_addresses_of_people_and_machines_are_found():
    text = "Write to anna.b+blog@mail.house.net, or ping 81.2.69.142 and 2a00:1450:4001:81b::200e now."

    assert mask(text, find_addresses(text)) == ("Write to [e-mail address], or ping [IP address] and [IP address] now.")


@pytest.mark.parametrize(
    "text",
    [
        "version 1.2.3.4 and v10.0.40.2 and 1.2.3.4",
        "127.0.0.1, 0.0.0.0, 192.168.1.40, 10.0.0.77, ::1, fe80::1",
        "203.0.113.77 and 2001:db8::1 are for documentation",
        "me@example.com, root@localhost, a@b.test",
        "logo@2x.png",
        "at 12:30:45 std::vec::Vec::new and 1.2.3.4.5.99",
    ],
)
def test_versions_and_addresses_for_documentation_are_left_alone(text: str):
    assert find_addresses(text) == []


def test_what_is_done_about_a_secret_is_up_to_the_rules():
    key = "AKIA" + "Z7QW3ERT5YUI2OPA"
    post = f"---\ntitle: My {key}\n---\nKey {key}, mail anna@house.net".encode()

    masked = make_document("a.md", post, Rules())
    kept = make_document("a.md", post, Rules(secrets="keep"))
    all_masked = make_document("a.md", post, Rules(mask_addresses=True))

    assert (masked.title, masked.text) == ("My [AWS key]", "Key [AWS key], mail anna@house.net")
    assert masked.notes == (Reason(Code.SECRET, "2 AWS keys masked"),)
    assert masked.marks.secrets == "2 AWS keys"
    assert key in kept.text and kept.notes == (Reason(Code.SECRET, "2 AWS keys found and kept"),)
    assert all_masked.text == "Key [AWS key], mail [e-mail address]"
    assert [note.message for note in all_masked.notes] == ["2 AWS keys masked", "1 e-mail address masked"]


@given(st.text(alphabet="-=:@/.\"' aK0ghp_sk\n", max_size=300))
def test_masking_any_text_leaves_the_rest_as_it_was(text: str):
    findings = [*find_secrets(text)]
    kept = [text[before.end : after.start] for before, after in itertools.pairwise(findings)]

    assert all(part in mask(text, findings) for part in kept)
    assert [finding.start for finding in findings] == sorted(finding.start for finding in findings)


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN PRIVATE KEY-----" * 5000,
        "password=" * 20000,
        "a:" * 100000,
        "eyJa." * 40000,
        "://a:b" * 40000,
        "1." * 100000,
        "@" * 100000,
        "a.b@" * 50000,
        "-----BEGIN PRIVATE KEY-----" + "-" * 200000,
    ],
    ids=lambda text: text[:12],
)
def test_hostile_texts_take_time_in_proportion_to_their_length(text: str):
    started = time.process_time()
    find_secrets(text)
    find_addresses(text)

    assert time.process_time() - started < 30
