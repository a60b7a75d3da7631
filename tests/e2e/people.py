"""A second person in Label Studio, come by the invitation link as real ones do."""

from __future__ import annotations

import requests

from demo.annotator import Annotator

PASSWORD = "two-clicks"


def invited(host: Annotator, email: str) -> Annotator:
    """Sign a person up and return them, logged in."""
    link = host.url + host.call("GET", "/api/invite")["invite_url"]
    with requests.Session() as browser:
        browser.get(link, timeout=30).raise_for_status()
        form = {"email": email, "password": PASSWORD, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        browser.post(link, data=form, headers={"Referer": link}, timeout=30).raise_for_status()
        token = browser.get(f"{host.url}/api/current-user/token", timeout=30)
        token.raise_for_status()
        return Annotator(host.url, token.json()["token"])
