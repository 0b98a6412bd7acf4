"""Mail handed to a server by SMTP, through the proxy where that is the only way out."""

from __future__ import annotations

import os
import smtplib
import socket
import ssl
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Any
from urllib.parse import urlsplit

from app.auth.settings import Smtp

PATIENCE = 20
"""Seconds that the server has to answer."""

Failed = (OSError, smtplib.SMTPException, ValueError)
"""What is raised where a mail was not handed over."""


def deliver(server: Smtp, mail: dict[str, Any]) -> None:
    """Hand one mail over; blocks.

    Args:
        mail: ``to``, ``subject`` and ``text``.

    Raises:
        OSError, smtplib.SMTPException, ValueError: it was not taken.
    """
    with _Client(server) as client:
        if server.tls == "starttls":
            client.starttls(context=ssl.create_default_context())
        if server.password_file:
            client.login(server.user, server.password_file.read_text().strip())
        client.send_message(_message(server, mail))


def _message(server: Smtp, mail: dict[str, Any]) -> EmailMessage:
    message = EmailMessage()
    message["From"] = server.sender
    message["To"] = mail["to"]
    message["Subject"] = mail["subject"]
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=server.sender.rpartition("@")[2] or None)
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail["text"])
    return message


class _Client(smtplib.SMTP):
    def __init__(self, server: Smtp) -> None:
        self._implicit = server.tls == "implicit"
        super().__init__(server.host, server.port, timeout=PATIENCE)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        proxy = urlsplit(os.environ.get("HTTPS_PROXY", ""))
        link = (
            _through(proxy.hostname, proxy.port or 3128, host, port, timeout)
            if proxy.hostname
            else socket.create_connection((host, port), timeout)
        )
        return ssl.create_default_context().wrap_socket(link, server_hostname=host) if self._implicit else link


def _through(proxy: str, proxy_port: int, host: str, port: int, timeout: float) -> socket.socket:
    """A connection through an HTTP proxy, by ``CONNECT``."""
    link = socket.create_connection((proxy, proxy_port), timeout)
    try:
        link.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        head = b""
        # By single bytes: what follows the head is the mail server's.
        while not head.endswith(b"\r\n\r\n"):
            byte = link.recv(1)
            if not byte or len(head) > 8192:
                raise OSError("the proxy did not answer")
            head += byte
        if head.split(b" ", 2)[1:2] != [b"200"]:
            raise OSError("the proxy refused")
    except OSError:
        link.close()
        raise
    return link
