"""Which questions pages ask the history, and how often."""

from monitor.web.recall import DAY, Recall
from tests.web.past import FakeHistory, down, span

NOW = 1_800_000_000.0
MIDNIGHT = NOW // DAY * DAY + DAY


class Asked(FakeHistory):
    """Records which sites and how many days it was asked for."""

    def __init__(self, *spans):
        super().__init__(*spans)
        self.questions = []

    def days(self, sites, *, days, now):
        self.questions.append((tuple(sites), days))
        return super().days(sites, days=days, now=now)


def history():
    return Asked(
        span("a", NOW - 50 * DAY, NOW - 3 * DAY),
        down("a", NOW - 3 * DAY, NOW - 3 * DAY + 720),
        span("a", NOW - 3 * DAY + 720, None),
        span("b", NOW - DAY, None),
    )


def test_days_that_are_over_are_asked_for_seldom():
    """Only today is asked for again, and the result is the same as for all 90 days."""
    asked = history()
    recall = Recall(asked)
    first = recall.days(["a", "b"], NOW)
    again = recall.days(["a", "b", "c"], NOW + 300)

    assert asked.questions == [(("a", "b"), 90), (("c",), 90), (("a", "b"), 1)]
    assert again == history().days(["a", "b"], days=90, now=NOW + 300)
    assert again["a"][:-1] == first["a"][:-1]


def test_days_that_are_over_are_asked_for_after_all():
    """Past days are asked for again after ten minutes, after midnight, or if the clock was set."""
    for later in (NOW + 601, MIDNIGHT + 1, NOW - 1):
        asked = history()
        recall = Recall(asked)
        recall.days(["a"], MIDNIGHT - 1 if later > MIDNIGHT else NOW)
        found = recall.days(["a"], later)

        assert asked.questions == [(("a",), 90), (("a",), 90)]
        assert found == history().days(["a"], days=90, now=later)


def test_a_history_that_fails_for_a_moment():
    """While the history fails the page shows no past, and afterwards all of it."""

    class Locked(Asked):
        locked = False

        def days(self, sites, *, days, now):
            if self.locked:
                raise OSError("database is locked")
            return super().days(sites, days=days, now=now)

    past = Locked(*history().spans)
    recall = Recall(past)
    whole = recall.days(["a"], NOW)
    past.locked = True
    assert recall.days(["a"], NOW) == {}
    past.locked = False

    assert recall.days(["a"], NOW) == whole


def test_a_history_that_fails_is_logged_once(caplog):
    """A failure is logged once, however many questions a page asks; another one is logged too."""

    class Broken(FakeHistory):
        said = "damaged"

        def outages(self, *_):
            raise OSError(self.said)

    broken = Broken()
    recall = Recall(broken)
    for _ in range(50):
        assert recall.outages(["a"], NOW - DAY, NOW) == ()
    broken.said = "locked"
    recall.outages(["a"], NOW - DAY, NOW)

    told = [record.fields["detail"] for record in caplog.records]
    assert told == ["OSError: damaged", "OSError: locked"]
