"""Passwords that everybody tries first.

Short ones are listed, not long ones: what reaches 15 characters on breach lists is nearly always one of these with
digits and signs around it, repeated, or a run along the keyboard, and `is_common` sees through that.
"""

import unicodedata

SHORTEST_UNIT = 8  # repeating fewer characters than this makes no password longer

COMMON = frozenset(
    """
    abc access account admin administrator adminadmin america andrew angel anthony apple arsenal asdfgh asdfghjkl
    ashley azerty azertyuiop bailey barcelona baseball basketball batman beautiful blink buster butterfly changeit
    changeme charlie chelsea chocolate computer cookie correcthorsebatterystaple dallas daniel default dragon elephant
    facebook family flower football freedom friends fuckyou gateway george ginger google guest harley hannah hello
    helloworld hockey hunter iloveyou internet jennifer jessica jordan joshua justin killer letmein letmeinplease
    liverpool login london lovely loveme love maggie manager manchester master matrix matthew michael michelle
    monkey mustang mypassword naruto nicole ninja nothing ollama pass passphrase passw passwd password
    passwordpassword pepper pokemon princess purple qazwsx qazwsxedc qwerty qwertyui qwertyuiop qwertz qwertzuiop
    rainbow ranger robert root samantha samsung secret secretpassword server shadow soccer starwars summer sunshine
    superman superuser supersecret supersecretpassword system temp temporary test tester testing testpassword testtest
    thisisapassword thisismypassword thomas tigger trustno user username welcome whatever william winter
    yankees zaq zxcvbn zxcvbnm
    """.split()  # noqa: SIM905  as a list it would be pages
)

RUNS = (
    "abcdefghijklmnopqrstuvwxyz",
    "0123456789",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertzuiopasdfghjklyxcvbnm",
    "azertyuiopqsdfghjklmwxcvbn",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
    "1q2w3e4r5t6y7u8i9o0p",
    "a1b2c3d4e5f6g7h8i9j0",
)

_LEET = str.maketrans("@4310$57", "aaeiosst")


def is_common(password: str) -> bool:
    """Tell whether `password` is a word everybody tries, dressed up, repeated, or a run along keys."""
    whole = _unit("".join(unicodedata.normalize("NFKC", password).casefold().split()))
    if len(whole) < SHORTEST_UNIT:
        return True
    words = {_unit(_undressed(spelling)) for spelling in (whole, whole.translate(_LEET))}
    return not words.isdisjoint(COMMON) or any(_is_run(word) for word in (whole, *words))


def _undressed(text: str) -> str:
    """Without the digits and signs at both ends, where there are letters in between."""
    start = next((i for i, char in enumerate(text) if char.isalpha()), 0)
    end = next((i for i in range(len(text), 0, -1) if text[i - 1].isalpha()), len(text))
    return text[start:end]


def _unit(text: str) -> str:
    """The shortest piece that, repeated at least once, gives `text`; the last one may be cut off."""
    sizes = range(1, len(text) // 2 + 1)
    return next((text[:size] for size in sizes if text[size:] == text[: len(text) - size]), text)


def _is_run(text: str) -> bool:
    return any(text in run * 2 or text in run[::-1] * 2 for run in RUNS)
