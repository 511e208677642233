"""The pool grows in the order of the requests, whatever the order in which they come."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable
from itertools import pairwise

import pytest

from evolgen.curate.novelty import NoveltyIndex
from evolgen.curate.tokens import unicode_tokens
from evolgen.errors import UsageError
from evolgen.pipelines.pool import Deck, Pool, seen_by
from evolgen.records import Seed

SEEDS = [Seed(instruction=f"Seed task about subject number {number}.") for number in range(20)]


def pool_of(seeds: list[Seed], seed: int = 0) -> Pool:
    return Pool(seeds, NoveltyIndex(0.7, unicode_tokens), seed=seed)


def test_the_lag_is_small_at_first_and_never_looks_ahead() -> None:
    assert [number + 1 - seen_by(number, 512) for number in (16, 100, 1008, 10**6)] == [16, 58, 512, 512]
    for lag in (1, 5, 512):
        seen = [seen_by(number, lag) for number in range(3000)]
        assert all(0 <= settled <= number for number, settled in enumerate(seen))
        assert all(after >= before for before, after in pairwise(seen))


def test_requests_put_in_by_turns_and_see_the_pool_as_of_their_lag() -> None:
    async def grow(pool: Pool, number: int, pauses: random.Random, seen: dict[int, list[str]]) -> None:
        settled = seen_by(number, 20)
        await pool.wait_for(settled)
        seen[number] = pool.generated(number, 1000, settled)
        await asyncio.sleep(pauses.random() / 100)
        await pool.wait_for(number)
        for part in range(number % 3):
            pool.add(f"{number} {part}")
        pool.settle()

    async def run(pauses: random.Random) -> dict[int, list[str]]:
        pool, seen = pool_of(SEEDS), dict[int, list[str]]()
        await asyncio.gather(*(grow(pool, number, pauses, seen) for number in range(100)))
        return seen

    seen = asyncio.run(run(random.Random(1)))
    assert seen == asyncio.run(run(random.Random(2)))
    for number, instructions in seen.items():
        known = {f"{other} {part}" for other in range(seen_by(number, 20)) for part in range(other % 3)}
        assert set(instructions) == known
        assert len(instructions) == len(known)


def test_a_request_that_cannot_go_on_takes_those_that_wait_with_it() -> None:
    async def run() -> list[object]:
        pool = pool_of(SEEDS)
        pool.settle()
        waiting: list[Awaitable[None]] = [asyncio.ensure_future(pool.wait_for(count)) for count in (1, 2, 3)]
        await asyncio.sleep(0)
        pool.close(KeyError("halt"))
        pool.close(ValueError("too late"))
        return [repr(each) for each in await asyncio.gather(*waiting, pool.wait_for(1), return_exceptions=True)]

    assert asyncio.run(run()) == ["None", *["KeyError('halt')"] * 3]


def test_one_more_in_the_deck_changes_few_draws() -> None:
    ids = [random.Random(number).getrandbits(56) for number in range(1000)]
    before, after = Deck(ids), Deck([*ids, 12345])
    draws = [(before.draw(2, key), after.draw(2, key)) for key in range(2000)]
    assert all(old == new for old, new in draws if 1000 not in new)
    assert 1 <= sum(1000 in new for _, new in draws) <= 20
    assert before.draw(2, 7, among=2) in ([0, 1], [1, 0])
    assert before.draw(0, 7) == Deck().draw(3, 7) == []


def test_draws_are_even() -> None:
    deck = Deck(range(1, 11))
    counts = Counter(at for key in range(5000) for at in deck.draw(3, key * 2**32 + 17))
    assert all(1350 < counts[at] < 1650 for at in range(10))


def test_only_seeds_that_can_be_shown_are_drawn_but_all_are_known() -> None:
    seeds = [Seed(instruction="Name a long river.", output="Danube"), Seed(instruction="Tell me a short joke please.")]
    pool = Pool(seeds, NoveltyIndex(0.7, unicode_tokens), seed=0, shown=lambda seed: bool(seed.output))
    assert pool.seeds(0, 3) == seeds[:1]
    match = pool.find("Tell me a short joke, please!")
    assert match is not None
    assert (match.source, match.text, match.score) == ("seeds", seeds[1].instruction, 1.0)
    with pytest.raises(UsageError, match="no seed has an answer"):
        Pool(seeds[1:], NoveltyIndex(0.7, unicode_tokens), seed=0, shown=lambda seed: bool(seed.output))


def test_equal_seeds_are_drawn_apart() -> None:
    pool = pool_of([Seed(instruction="The same."), Seed(instruction="The same.", occurrence=1), *SEEDS])
    assert len({pool.seeds(number, 1)[0].occurrence for number in range(100)}) == 2


def test_other_seeds_of_randomness_draw_others() -> None:
    assert [pool_of(SEEDS, 1).seeds(n, 6) for n in range(5)] != [pool_of(SEEDS, 2).seeds(n, 6) for n in range(5)]


def test_texts_without_words_are_known_when_equal() -> None:
    index = NoveltyIndex(0.7, str.split)
    index.add("写一首诗", "a" * 16, "seeds")
    found = index.find("写一首诗 ")
    assert found is not None
    assert found.score == 1.0
