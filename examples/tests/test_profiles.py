"""No Kafka is needed: the driver runs the product's own engine and store over topics in memory."""

from __future__ import annotations

from datetime import date

from examples.profiles import Profile, Purchase, add, app
from streamer.testing import TopologyTestDriver

MAY, JUNE = date(1997, 5, 6), date(1997, 6, 20)


def test_a_purchase_is_added_to_a_profile() -> None:
    profile = add("ann", Purchase(MAY, cds=2, cents=2599), Profile())
    assert profile == Profile(1, 2, 2599, MAY, MAY, 2599)


def test_profiles_survive_a_crash_with_the_disk_lost() -> None:
    with TopologyTestDriver(app, partitions=8) as driver:
        driver.send("purchases", "ann", Purchase(MAY, 1, 1177), at="1997-05-06T00:00Z")
        driver.send("purchases", "bob", Purchase(MAY, 9, 9900), at="1997-05-06T00:00Z")
        driver.crash(lose_disk=True)
        driver.send("purchases", "ann", Purchase(JUNE, 2, 2599), at="1997-06-20T00:00Z")

        assert driver.store("profiles")["ann"] == Profile(2, 3, 3776, MAY, JUNE, 2599)
        assert driver.read("customer-profiles")[-1] == ("ann", driver.store("profiles")["ann"])


def test_spending_is_kept_per_thirty_days() -> None:
    with TopologyTestDriver(app) as driver:
        for day, cents in ((6, 1000), (7, 500)):
            purchase = Purchase(date(1997, 5, day), 1, cents)
            driver.send("purchases", "ann", purchase, at=f"1997-05-{day:02}T00:00Z")
        driver.send("purchases", "ann", Purchase(JUNE, 1, 250), at="1997-06-20T00:00Z")

        spending = driver.store("spending")
        assert [window.key for window in spending] == ["ann", "ann"]
        # Windows of 30 days lie side by side from 1970-01-01 on.
        april, june = (spending.fetch("ann", start) for start in ("1997-04-09", "1997-06-08"))
        assert (april.orders, april.cents) == (2, 1500)
        assert (june.orders, june.cents) == (1, 250)
