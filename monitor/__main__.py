"""
The program's door; ``python -m monitor`` and the console script ``monitor`` both enter here.

Worker processes import this module again, so it imports nothing before it is called.
"""


def main() -> None:
    from monitor.cli import cli  # noqa: PLC0415  see above

    cli()


if __name__ == "__main__":
    main()
