"""Write the data dictionary and the diagrams anew: ``python -m tests.schema_documents``. Needs Graphviz."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from app.schema import documents, migrate
from tests.postgres import server


def main() -> None:
    documents.HOME.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, server(Path(folder), "maia-schema-documents") as running:
        running.create("maia")
        migrate.migrate(partial(running.connect, "maia"), print)
        with running.connect("maia") as link:
            for name, text in documents.render(link).items():
                (documents.HOME / name).write_text(text)
            for domain, source in documents.diagrams(link).items():
                (documents.HOME / f"{domain}.svg").write_text(documents.draw(source))


if __name__ == "__main__":
    main()
