"""What a server looks like: a program of the standard library alone that root's Python runs there, answering in JSON.

Its modules are sent over ssh with a question (`checks.hosts`). It changes nothing and tells nothing secret: of a
password only how it is kept.
"""
