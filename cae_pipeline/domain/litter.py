"""Names of files that lie beside pictures and are none."""

from __future__ import annotations

SIDE_CARS = (
    *("*.xml", "*.json", "*.jsonl", "*.txt", "*.csv", "*.tsv", "*.log", "*.ini", "*.cfg", "*.toml", "*.yaml", "*.yml"),
    *("*.md", "*.pdf", "*.htm", "*.html", "*.xls", "*.xlsx", "*.xmp", "*.exif", "*.thm", "manifest.json"),
    *("*.md5", "*.sha1", "*.sha256", "*.sha512", "*.sfv"),
)
"""What says something about pictures."""
OF_FILE_MANAGERS = (
    *("*.db", "*.lnk", "*.url", "*:Zone.Identifier", "Icon\r", "#recycle", "@Recycle", "$RECYCLE.BIN", "@eaDir"),
    *("System Volume Information", "__MACOSX", "lost+found"),
)
"""What Windows, macOS and storage servers leave in folders, such as `Thumbs.db`."""
OF_COPYING = (
    *("*.tmp", "*.temp", "*.part", "*.partial", "*.filepart", "*.crdownload", "*.swp", "*.bak", "~*", "*~"),
    *("*.lock", "*.lck", "*.done", "*.ready", "*.ok", "_SUCCESS"),
)
"""What is still being written, and what says that it is or has been."""
IGNORED_FILES = (*SIDE_CARS, *OF_FILE_MANAGERS, *OF_COPYING)
"""Shell patterns of files and folders in a batch that are not looked at, unless a line says otherwise."""
