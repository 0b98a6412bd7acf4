"""Test hosts: servers in containers, with systemd and ssh, to try on what is meant for real ones."""

from infra.lab.hosts import Host, Lab

__all__ = ["Host", "Lab"]
