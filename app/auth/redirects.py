"""Where a link of a mail may lead: the site, and what its configuration names. Never what a request's host says."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from app.auth.settings import Policy


def chosen(policy: Policy, asked: str) -> str:
    """``asked`` where it is allowed, else the site."""
    return asked if asked and _allowed(policy, asked) else policy.site_url


def _allowed(policy: Policy, asked: str) -> bool:
    if not asked.isascii() or not asked.isprintable() or "\\" in asked or " " in asked:
        return False
    try:
        url, site = urlsplit(asked), urlsplit(policy.site_url)
    except ValueError:
        return False
    if url.scheme in ("javascript", "data", "vbscript", "file", "blob") or "@" in url.netloc:
        return False
    if url.scheme == site.scheme and url.netloc == site.netloc and url.netloc:
        return True
    return any(_matches(pattern, asked) for pattern in policy.redirects)


def _matches(pattern: str, asked: str) -> bool:
    """Exactly, or what begins so where the pattern ends in ``*``; the host is always whole."""
    if not pattern.endswith("*"):
        return asked == pattern
    begin, url = urlsplit(pattern[:-1]), urlsplit(asked)
    if begin.scheme in ("http", "https") and not begin.path:
        return (url.scheme, url.netloc) == (begin.scheme, begin.netloc)
    same = (url.scheme, url.netloc) == (begin.scheme, begin.netloc)
    return same and asked.startswith(pattern[:-1]) and "/../" not in f"{url.path}/" and "%2e" not in url.path.lower()


def with_query(url: str, **parameters: str) -> str:
    """The URL with these parameters instead of any of the same names."""
    parts = urlsplit(url)
    kept = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in parameters]
    return urlunsplit(parts._replace(query=urlencode([*kept, *parameters.items()])))


def with_fragment(url: str, **parameters: str | int) -> str:
    """The URL with these parameters as its fragment, where servers do not see them."""
    return urlunsplit(urlsplit(url)._replace(fragment=urlencode(parameters)))
