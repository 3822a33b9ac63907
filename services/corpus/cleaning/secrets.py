"""Secrets: keys, tokens, passwords and addresses in a text -> placeholders such as `[AWS key]`.

Formats are those that the issuers publish. A model learns what it reads, so a key that slipped into a post could come
back in a sample. What is plainly an example (`AKIAIOSFODNN7EXAMPLE`, `password = "hunter2"`, `your-token-here`) stays:
a text about keys should keep its sense. Knows text alone; what is done about a post that holds one is up to the rules.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections import Counter
from dataclasses import dataclass

# Kind; what is in every one of its kind, for a cheap look before the pattern; and the pattern, of which group 1 is
# masked, or all where there is none. All but private keys are without white space and of at least 20 signs.
_FORMS: tuple[tuple[str, tuple[str, ...], re.Pattern[str]], ...] = tuple(
    (kind, tuple(hints.split()), re.compile(pattern))
    for kind, hints, pattern in (
        (
            "private key",
            "-----BEGIN",
            r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
            r"(?:[^-]|-(?!----)){20,20000}(?:-----END (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----)?",
        ),
        ("private key", "AGE-SECRET-KEY-1", r"\bAGE-SECRET-KEY-1[0-9A-Z]{58}\b"),
        ("AWS key", "AKIA ASIA ABIA ACCA", r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b"),
        ("Google key", "AIza", r"\bAIza[\w-]{35}(?![\w-])"),
        ("Google key", "ya29.", r"\bya29\.[\w-]{30,}"),
        ("Google key", "GOCSPX-", r"\bGOCSPX-[\w-]{28}(?![\w-])"),
        ("Azure key", "AccountKey= SharedAccessKey=", r"(?:AccountKey|SharedAccessKey)=([\w+/]{42,86}={1,2})"),
        ("Azure key", "sig=", r"[?&]sig=((?:[\w.~-]|%[0-9A-Fa-f]{2}){40,100})"),
        ("Azure key", "Q~", r"(?<![\w~.-])([\w~.-]{3}\dQ~[\w~.-]{31,34})(?![\w~.-])"),
        ("GitHub token", "ghp_ gho_ ghu_ ghs_ ghr_", r"\bgh[pousr]_[A-Za-z0-9]{36,255}\b"),
        ("GitHub token", "github_pat_", r"\bgithub_pat_[A-Za-z0-9_]{60,255}\b"),
        (
            "GitLab token",
            "glpat- gldt- glrt- glptt- glft- glimt- glagent- glsoat-",
            r"\bgl(?:pat|dt|rt|ptt|ft|imt|agent|soat)-[\w-]{20,64}(?![\w-])",
        ),
        ("Slack token", "xox", r"\bxox[abeoprs]-[A-Za-z0-9-]{16,250}"),
        ("Slack token", "xapp-", r"\bxapp-\d-[A-Z0-9]+-\d+-[a-z0-9]{30,}\b"),
        ("Slack token", "hooks.slack.com/", r"hooks\.slack\.com/(?:services|workflows)/([A-Za-z0-9+/]{40,60})"),
        ("Discord token", "/api/webhooks/", r"discord(?:app)?\.com/api/webhooks/(\d{17,20}/[\w-]{60,70})"),
        ("Stripe key", "k_live_ k_test_", r"\b[srp]k_(?:live|test)_[A-Za-z0-9]{16,200}\b"),
        ("Stripe key", "whsec_", r"\bwhsec_[A-Za-z0-9+/]{32,64}"),
        ("Anthropic key", "sk-ant-", r"\bsk-ant-[a-z0-9]{2,10}-[\w-]{60,120}"),
        ("OpenAI key", "T3BlbkFJ", r"\bsk-(?:proj-|svcacct-|admin-)?[\w-]{16,120}T3BlbkFJ[\w-]{16,120}"),
        ("OpenAI key", "sk-", r"\bsk-[A-Za-z0-9]{48}\b"),
        ("npm token", "npm_", r"\bnpm_[A-Za-z0-9]{36}\b"),
        ("PyPI token", "pypi-AgE", r"\bpypi-AgE[\w-]{50,1000}"),
        ("Hugging Face token", "hf_", r"\bhf_[A-Za-z]{34}\b"),
        ("DigitalOcean token", "dop_v1_", r"\bdop_v1_[a-f0-9]{64}\b"),
        ("Shopify token", "shpat_ shpca_ shppa_ shpss_", r"\bshp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}\b"),
        ("Docker token", "dckr_pat_", r"\bdckr_pat_[\w-]{27}(?![\w-])"),
        ("Telegram token", ":AA", r"(?<![\w:])\d{8,10}:AA[\w-]{33}(?![\w-])"),
        ("Twilio key", "SK", r"\bSK[0-9a-f]{32}\b"),
        ("SendGrid key", "SG.", r"\bSG\.[\w-]{22}\.[\w-]{43}(?![\w-])"),
        ("JSON web token", "eyJ", r"\beyJ[\w-]{10,2000}\.eyJ[\w-]{10,4000}\.[\w-]{20,1000}"),
    )
)
_LEAST_LENGTH = 20
_ADDRESS_WITH_PASSWORD = re.compile(r"://[^\s/@:\"'<>]{0,100}:([^\s/@\"'<>]{3,200})@[\w.\[-]")
# Names of settings that hold passwords: where one stands, what is assigned to it is looked at.
_NAMES = ("passw", "passp", "pwd", "secret", "token", "auth", "credential", "key")
_KEY_OF = re.compile(r"(?i)(?:api|access|private|encryption|secret|auth|account)[_-]?$")  # a key by itself is a term
_ASSIGNED = re.compile(
    r"[\w.\"'\]-]{2,40}?\s{0,3}(?::=|=>|=|:)\s{0,3}(?:(?i:bearer|basic|token)\s)?"
    r"(?:\"([^\"\n]{8,200})\"|'([^'\n]{8,200})'|`([^`\n]{8,200})`|([\w+/=.~!@#$%^&*-]{8,200}))"
)
_EXAMPLE = re.compile(
    r"(?i)example|sample|dummy|fake|your|change|replace|redact|insert|placeholder|secret|passw|token|hunter2|letmein"
    r"|xxx|\*\*\*|\.\.\.|<|>|\$\{|\$\(|\{\{|%\(|env|1234567|abcdef|(.)\1{5}"
)
# In a key that has the right form.
_EXAMPLE_KEY = re.compile(r"(?i)EXAMPLE|x{6}|0{8}|1{8}|1234567890|(.)\1{7}")
_NAME = re.compile(r"[A-Za-z_][\w.]*(?:\(.*|\[.*)?|[a-z]+(?:-[a-z]+)*|https?:.*|/[\w./-]*|[\d.,:/ -]*")
_LEAST_ENTROPY = 3.0  # bits a character: words and repeated signs have less

_MAIL = re.compile(
    r"(?<![\w.+-])[\w][\w.+-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}(?![\w-])"
)
_IPV4 = re.compile(r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])")
# Domains for documentation, and pictures for dense screens (`logo@2x.png`).
_NO_MAIL = re.compile(
    r"(?i)@(?:(?:.*\.)?(?:example(?:\.(?:com|org|net|edu))?|test|invalid|localhost|local)|[1-9]x\..*)$"
)
_VERSION = re.compile(r"(?i)(?:\bv(?:er(?:sion)?)?\.?|release|section|§|==|@|~>|>=)\s?$")


@dataclass(frozen=True, slots=True)
class Finding:
    """A place in a text. `kind` is what the placeholder says."""

    kind: str
    start: int
    end: int


def find_secrets(text: str) -> list[Finding]:
    """Keys, tokens and passwords of a text, in order, without overlaps. Takes linear time."""
    found: list[Finding] = []
    long_words = "\n".join([word for word in text.split() if len(word) >= _LEAST_LENGTH])
    for kind, hints, pattern in _FORMS if long_words else _FORMS[:1]:  # only the first has white space in it
        if any(hint in (text if hint == "-----BEGIN" else long_words) for hint in hints):
            group = min(1, pattern.groups)
            found += [
                Finding(kind, *match.span(group))
                for match in pattern.finditer(text)
                if kind == "private key" or not _EXAMPLE_KEY.search(match[group])
            ]
    if "://" in text and "@" in text:
        for match in _ADDRESS_WITH_PASSWORD.finditer(text):
            if not _EXAMPLE.search(match[1]):
                found.append(Finding("password", *match.span(1)))
    lower = text.lower()
    if len(lower) != len(text):  # a few letters of other alphabets: places would not agree
        lower = text
    for name in _NAMES:
        at = lower.find(name)
        while at >= 0:
            assigned = _ASSIGNED.match(text, at)
            if assigned is not None and (name != "key" or _KEY_OF.search(text[max(0, at - 11) : at])):
                group = next(index for index in range(1, 5) if assigned[index] is not None)
                if not _EXAMPLE.search(assigned[group]) and _is_random(assigned[group]):
                    found.append(Finding("password", *assigned.span(group)))
            at = lower.find(name, at + len(name))
    return apart(found)


def find_addresses(text: str) -> list[Finding]:
    """E-mail and IP addresses that may be someone's, in order: neither those for documentation nor local ones."""
    found: list[Finding] = []
    if "@" in text:
        found += [Finding("e-mail address", *m.span()) for m in _MAIL.finditer(text) if not _NO_MAIL.search(m[0])]
    words = text.split()
    if any(word.count(".") > 2 for word in words):
        for match in _IPV4.finditer(text):
            # Four small numbers are more often a version, or the number of a section.
            is_version = _VERSION.search(text, max(0, match.start() - 12), match.start())
            if not is_version and _is_public(match[0]) and any(int(part) > 31 for part in match[0].split(".")):
                found.append(Finding("IP address", *match.span()))
    if any(word.count(":") > 1 for word in words):
        for match in _IPV6.finditer(text):
            if len(match[0]) > 5 and _is_public(match[0]):
                found.append(Finding("IP address", *match.span()))
    return apart(found)


def mask(text: str, findings: list[Finding]) -> str:
    """The text with a placeholder in the place of each finding."""
    parts = []
    copied = 0
    for finding in findings:
        parts += [text[copied : finding.start], f"[{finding.kind}]"]
        copied = finding.end
    return "".join([*parts, text[copied:]])


def in_words(*findings: list[Finding]) -> str:
    """How many there are of which kind, such as `2 AWS keys and 1 password`; "" if there is none."""
    counts = Counter(finding.kind for part in findings for finding in part)
    parts = [
        f"{number} {kind}{'' if number == 1 else 'es' if kind.endswith('s') else 's'}"
        for kind, number in counts.items()
    ]
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def apart(found: list[Finding]) -> list[Finding]:
    """In order; of two that overlap, the one that begins first, then the longer."""
    result: list[Finding] = []
    for finding in sorted(found, key=lambda finding: (finding.start, -finding.end)):
        if not result or finding.start >= result[-1].end:
            result.append(finding)
    return result


def _is_random(value: str) -> bool:
    """Whether it looks like a password or a key: no name, no word, no path, no sentence."""
    if " " in value or (
        _NAME.fullmatch(value) and not (any(map(str.isdigit, value)) and len(value) >= 16 and "." not in value)
    ):
        return False
    num_kinds = sum(
        any(map(test, value)) for test in (str.islower, str.isupper, str.isdigit, lambda letter: not letter.isalnum())
    )
    counts = Counter(value)
    entropy = -sum(number / len(value) * math.log2(number / len(value)) for number in counts.values())
    return entropy >= _LEAST_ENTROPY and num_kinds >= (2 if len(value) >= 20 else 3)


def _is_public(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return found.is_global and not found.is_multicast
