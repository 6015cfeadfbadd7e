from vap.serving.limits import RateLimits


def test_a_minute_of_requests_at_once_and_then_one_at_a_time() -> None:
    now = 0.0
    limits = RateLimits(lambda: now)
    assert [limits.take("a", 3) for _ in range(3)] == [0, 0, 0]
    assert limits.take("a", 3) == 20
    assert limits.take("b", 3) == 0
    now = 20.0
    assert limits.take("a", 3) == 0
    assert limits.take("a", 3) > 0
    now = 10_000.0
    assert [limits.take("a", 3) for _ in range(3)] == [0, 0, 0]
    assert limits.take("a", 3) > 0
