"""stub"""


def write() -> None:
    pass
