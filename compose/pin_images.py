"""Resolves the tags of images.env to digests: `make pin-images` writes images.pinned.env.

docker compose --env-file images.pinned.env up then runs exactly these images. Nothing is written
when one of the registries does not answer.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT = 20.0  # seconds for one request to a registry
# Digests of lists of images (one for each processor) before those of a single image.
KINDS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
HOSTS = {"docker.io": "registry-1.docker.io"}  # registries that answer at another name


class Unresolved(Exception):
    """A tag could not be looked up; the text says which and why."""


def pinned(text: str) -> str:
    """The text of images.env with a digest after every tag; Unresolved when a tag has none."""
    lines = []
    for line in text.splitlines():
        name, _, image = line.partition("=")
        plain = line.startswith("#") or "/" not in image
        lines.append(line if plain else f"{name}={image}@{digest(image)}")
    return "\n".join(lines) + "\n"


def digest(image: str) -> str:
    """The digest that registry/repository:tag has now; Unresolved if it has none."""
    registry, _, rest = image.partition("/")
    repository, _, tag = rest.rpartition(":")
    scheme = "http" if registry.startswith("127.0.0.1") else "https"
    url = f"{scheme}://{HOSTS.get(registry, registry)}/v2/{repository}/manifests/{tag}"
    try:
        with httpx.Client(timeout=TIMEOUT, follow_redirects=True) as client:
            headers = {"Accept": ", ".join(KINDS)}
            answer = client.head(url, headers=headers)
            if answer.status_code == httpx.codes.UNAUTHORIZED:
                headers["Authorization"] = f"Bearer {_token(client, answer)}"
                answer = client.head(url, headers=headers)
            header = answer.raise_for_status().headers.get("Docker-Content-Digest", "")
    except httpx.HTTPError as error:
        raise Unresolved(f"{image}: {error}") from None
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", header):
        raise Unresolved(f"{image}: the registry names no digest")
    return str(header)


def _token(client: httpx.Client, refusal: httpx.Response) -> str:
    """The token that a registry gives to anybody, from the realm that its refusal names."""
    challenge = dict(re.findall(r'(\w+)="([^"]*)"', refusal.headers.get("WWW-Authenticate", "")))
    if "realm" not in challenge:
        return ""
    answer = client.get(challenge.pop("realm"), params=challenge).raise_for_status().json()
    return str(answer.get("token") or answer.get("access_token"))


def main(source: Path = ROOT / "images.env", target: Path = ROOT / "images.pinned.env") -> int:
    """Write `target`; returns 1 when a tag could not be resolved."""
    try:
        text = pinned(source.read_text())
    except Unresolved as error:
        sys.stderr.write(f"nothing is written: {error}\n")
        return 1
    target.write_text(text)
    print(f"{target.name}: use it with docker compose --env-file {target.name} up")
    return 0


if __name__ == "__main__":
    sys.exit(main())
