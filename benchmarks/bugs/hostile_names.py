"""A test runner of the stateful scenario with one client more, whose id is a path. It is staged beside the others."""

import test_runner

HOSTILE = "../CLI9"
chunks_to_send = test_runner.chunks_to_send


def with_hostile_client(clients: int, chunks: int, *others: int) -> list[test_runner.Chunk]:
    hostile = [test_runner.Chunk(HOSTILE, number) for number in range(1, chunks + 1)]
    return hostile + chunks_to_send(clients, chunks, *others)


test_runner.chunks_to_send = with_hostile_client
test_runner.main()
